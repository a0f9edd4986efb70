//===- CanonicalEvents.h - the update of a matrix state, in order -*- C++ -*-===//
//
// The versions from the incoming state to the next one are a list of gates and
// rank-1 writes. Canonical form is "all gates, then writes": a write that comes
// before a gate is multiplied by it, and a read that stands between moves to
// the incoming state,
//   read(b, D S) = read(D b, S)      read(b, S + x y^T) = read(b, S) + (b.x) y,
// so nothing is ever divided by a gate.
//
//===----------------------------------------------------------------------===//
#ifndef FLA_LIB_DIALECT_FLA_TRANSFORMS_CANONICALEVENTS_H
#define FLA_LIB_DIALECT_FLA_TRANSFORMS_CANONICALEVENTS_H

#include "StepAnalysis.h"

namespace fla {

/// The operands of one `fla.affine`. Reads refer to canonical versions.
struct AffineSpec {
  struct Row {
    mlir::Value x, value;
    llvm::SmallVector<StateRead> reads;
  };
  int rowAxis = 0;
  mlir::Value rowGate, columnGate;
  llvm::SmallVector<Row> rows;
  llvm::SmallVector<std::pair<mlir::Value, Affine>> answers; ///< original value and what it reads

  /// Adds the `fla.affine` and defines the answers; returns the next state.
  mlir::Value emit(ProgramBuilder &program, mlir::BlockArgument state, mlir::Location loc);
};

class CanonicalEvents {
public:
  CanonicalEvents(ProgramBuilder &program, StepAnalysis &analysis, mlir::BlockArgument state)
      : program(program), analysis(analysis), state(state) {}

  /// Builds the canonical form of `version`; a reason if there is none.
  std::optional<Bad> build(int version, llvm::ArrayRef<mlir::Value> answers);
  mlir::Value emit();

private:
  struct Gate {
    int position;
    mlir::Value log;
    int axis;
  };
  struct Write {
    int position;
    mlir::Value x;
    Affine y; ///< reads refer to positions
    mlir::Operation *op;
  };
  std::optional<Bad> collect(int version);
  std::optional<Bad> toTrunk(Affine &affine);
  std::optional<Bad> toIncoming(Affine &affine);
  std::optional<Bad> toCanonical(Affine &affine, bool feedsState);
  std::optional<Bad> buildRows();
  mlir::Value gateSum(int from, int to, bool rows);
  bool hasColumnGate(int from, int to);
  int writesBefore(int position) const;
  std::optional<int> canonicalVersion(int position);
  void mergeRows();

  ProgramBuilder &program;
  StepAnalysis &analysis;
  mlir::BlockArgument state;
  int rowAxis = 0, numEvents = 0;
  llvm::DenseMap<int, int> position; ///< version on the trunk -> position
  llvm::SmallVector<Gate> gates;
  llvm::SmallVector<Write> writes;
  AffineSpec spec;
};

} // namespace fla

#endif
