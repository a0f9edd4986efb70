//===- StepAnalysis.h - what a step does to one state -----------*- C++ -*-===//
//
// Abstract values of a step with respect to one matrix state S (MATH: the
// normaliser). Every value of the step is one of
//   Constant   does not depend on S
//   Version    S after some gates and writes
//   Writes     a sum of rank-1 matrices x y^T
//   Affine     v + sum of reads of versions of S
//   Bad        anything else, with the reason and the operation to blame
//
//===----------------------------------------------------------------------===//
#ifndef FLA_LIB_DIALECT_FLA_TRANSFORMS_STEPANALYSIS_H
#define FLA_LIB_DIALECT_FLA_TRANSFORMS_STEPANALYSIS_H

#include "fla/Dialect/FLA/IR/Algebra.h"
#include "llvm/ADT/DenseMap.h"
#include <variant>

namespace fla {

/// One read: S at `version`, contracted with `query` over the reading axis.
struct StateRead {
  mlir::Value query;
  int version;
};

/// value + sum of reads. Contracting S's axis `axis` leaves the other one.
struct Affine {
  int axis = 0;
  mlir::Value value; ///< null: zero
  llvm::SmallVector<StateRead> reads;
};

struct RankOne {
  Affine x, y; ///< over the state's first and second axis
};

struct Constant {};
struct VersionRef {
  int index;
};
struct Writes {
  llvm::SmallVector<RankOne> terms;
};
struct Bad {
  std::string why;
  mlir::Operation *op;
};
using AbstractValue = std::variant<Constant, VersionRef, Writes, Affine, Bad>;

/// How a version came from its parent. Version 0 is the incoming state.
struct Version {
  enum Kind { Root, Gate, Write } kind = Root;
  int parent = -1;
  mlir::Value logGate; ///< Gate: natural logarithm of the factor
  int gateAxis = -1;   ///< Gate: 0 rows, 1 columns, -1 all of S
  RankOne write;       ///< Write
  mlir::Operation *op = nullptr; ///< what made it, for diagnostics
};

/// Values of the step in the program under construction.
class ProgramBuilder;

class StepAnalysis {
public:
  StepAnalysis(ProgramBuilder &program, mlir::BlockArgument state);

  AbstractValue evaluate(mlir::Value value);
  const Version &getVersion(int index) const { return versions[index]; }
  mlir::StringAttr getDim(int axis) const { return getDims(state)[axis]; }

private:
  AbstractValue compute(mlir::Operation *op);
  bool isGateOfRead(mlir::Operation *op);
  AbstractValue computeAdd(mlir::Operation *op, bool negateSecond);
  AbstractValue computeScale(mlir::Operation *op, mlir::Value value, mlir::Value factor);
  AbstractValue computeRead(ReadOp op);
  AbstractValue computeOuter(mlir::Operation *op, mlir::Value x, mlir::Value y);
  AbstractValue computeWrite(WriteOp op);
  AbstractValue gate(mlir::Operation *op, int version, mlir::Value factor);
  AbstractValue append(int version, const Writes &writes, mlir::Operation *op);
  std::variant<Affine, Bad> factorOf(mlir::Operation *op, mlir::Value value, int axis);
  std::variant<Writes, Bad> constantWrites(mlir::Value value, mlir::Operation *user);
  AbstractValue scaled(Affine affine, mlir::Value factor);
  Writes scaled(Writes writes, mlir::Value factor);
  int addVersion(Version version);

  ProgramBuilder &program;
  mlir::BlockArgument state;
  llvm::SmallVector<Version> versions;
  llvm::DenseMap<mlir::Value, AbstractValue> memo;
};

} // namespace fla

#endif
