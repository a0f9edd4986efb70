//===- KernelBuilder.h - one kernel from one chunk program ------*- C++ -*-===//
#ifndef FLA_LIB_CONVERSION_CHUNKTOTILE_KERNELBUILDER_H
#define FLA_LIB_CONVERSION_CHUNKTOTILE_KERNELBUILDER_H

#include "BodyConverter.h"
#include "llvm/ADT/StringSet.h"

namespace fla {

/// How the caller stores its tensors.
struct StorageTypes {
  mlir::Type standard;
  llvm::StringMap<mlir::Type> single;
  mlir::Type of(llvm::StringRef name) const {
    auto it = single.find(name);
    return it == single.end() ? standard : it->second;
  }
};

/// "d_q" of "d_q@2", a piece of it.
inline llvm::StringRef gradientOf(llvm::StringRef name) { return name.split('@').first; }

/// What programs of a module know of each other: values that cross between them.
struct Links {
  llvm::StringSet<> read;    ///< token values that some program reads
  llvm::StringSet<> temps;   ///< those that are neither inputs nor outputs of the definition
  llvm::StringSet<> pieces;  ///< gradients that several programs give a part of
  bool narrow = false;       ///< gradients are stored as their inputs are
  llvm::StringMap<int64_t> shares; ///< gradients stored as one share a block
  mlir::Type outputType;                 ///< storage of outputs: that of the first per-token argument
};

/// What a forward kernel is for.
enum class Purpose { Run, RunAndSave, Replay };

class KernelBuilder {
public:
  KernelBuilder(chunk::ProgramOp program, const TileSizes &sizes, const StorageTypes &storage, Links &links, Purpose purpose)
      : program(program), sizes(sizes), storage(storage), links(links), purpose(purpose), builder(program), alg(builder, sizes) {
    alg.setLoc(program.getLoc());
  }
  mlir::LogicalResult build(const llvm::Twine &name);

private:
  mlir::Value addBuffer(const llvm::Twine &name, tile::BufferKind kind, mlir::Type type, mlir::Type element, llvm::StringRef role, bool output);
  void addInputs();
  void addOutputs();
  mlir::Type outputElement(llvm::StringRef name, mlir::Type type);
  bool isStored(unsigned result) const;
  mlir::Value loadToken(mlir::BlockArgument arg, mlir::Value buffer, mlir::Value chunk);
  mlir::Value load(mlir::Value buffer, mlir::Value chunk, mlir::Type type, double absent = 0);
  void store(mlir::Value value, mlir::Value buffer, mlir::Value chunk, mlir::Type type);
  bool comesApart(mlir::Value buffer, mlir::Type flat, llvm::ArrayRef<int64_t> apart);
  /// True of a gradient that each block has its own share of (reverse mode is linear in
  /// the gradients, so shares may be summed after everything else), of a read by
  /// blocks of rows, and of a state that blocks hold alike.
  bool lacksColumns(mlir::Type type) { return sizes.blocks > 1 && !hasDim(type, sizes.splitDim); }
  mlir::Value initialCarry(mlir::BlockArgument carry, mlir::Value buffer);
  mlir::LogicalResult buildLoop();
  mlir::LogicalResult buildBody(mlir::Value index, mlir::ValueRange loadedParams, mlir::ValueRange carried, llvm::SmallVectorImpl<mlir::Value> *next);
  tile::BufferKind kindOf(mlir::BlockArgument param) {
    return program.getArgAttr(param.getArgNumber()).contains("value") ? tile::BufferKind::value : tile::BufferKind::param;
  }

  chunk::ProgramOp program;
  const TileSizes &sizes;
  const StorageTypes &storage;
  Links &links;
  Purpose purpose;
  mlir::OpBuilder builder;
  TileAlgebra alg;
  tile::KernelOp kernel;
  llvm::SmallVector<mlir::Attribute> names, roles;
  llvm::SmallVector<bool> outputs, partial;
  llvm::SmallVector<mlir::Value> tokens, params, carries, saved;
  llvm::SmallVector<mlir::Value> outTokens, outCarries, outSaved, outSums;
};

} // namespace fla

#endif
