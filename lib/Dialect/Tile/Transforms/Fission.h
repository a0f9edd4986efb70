//===- Fission.h - what passes that divide a loop share ---------*- C++ -*-===//
#ifndef FLA_LIB_DIALECT_TILE_TRANSFORMS_FISSION_H
#define FLA_LIB_DIALECT_TILE_TRANSFORMS_FISSION_H

#include "fla/Dialect/Tile/IR/Tile.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

namespace fla::tile {

/// Of operations that a kernel after the loop does again: a number that the copy has as well.
constexpr llvm::StringLiteral kTwinAttr = "fla.twin";

llvm::ArrayRef<int64_t> shapeOf(mlir::Type type);
int64_t elements(llvm::ArrayRef<int64_t> shape);
inline int64_t elements(mlir::Value value) { return elements(shapeOf(value.getType())); }
inline int64_t bytes(mlir::Type element) { return element.getIntOrFloatBitWidth() / 8; }
inline bool isMatrix(mlir::Value value) { return shapeOf(value.getType()).size() == 2; }

/// A factor of a product.
bool isOperand(mlir::OpOperand &use);
/// Work that is worth a kernel of its own.
bool isHeavy(mlir::Operation *op);
/// Each element of the result is an element of the operand, or `arith` of elements.
bool isElementwise(mlir::Operation *op);
/// Whether it differs between blocks: a tile narrower than its buffer holds the slice of one block.
bool isNarrow(mlir::Operation *op);

/// The type in which a kernel's products take their operands: that of its first rows of tokens.
mlir::Type operandType(KernelOp kernel);
/// Of one chunk, in bytes, all that a kernel reads and writes.
int64_t bytesOfBuffers(KernelOp kernel);

/// The loop over chunks of a kernel that carries something from one to the next.
mlir::scf::ForOp chunkLoop(KernelOp kernel);
/// The number of the chunk that all of a loop's accesses have; null if it does more than load, compute and store.
mlir::Value chunkIndexOf(mlir::scf::ForOp loop);

/// Arguments of a kernel as its attributes list them.
struct Arguments {
  llvm::SmallVector<mlir::Attribute> names, roles;
  llvm::SmallVector<bool> outputs, partial;

  void add(mlir::StringAttr name, mlir::Attribute role, bool output, bool isPartial);
  void addTemp(mlir::Builder &b, llvm::StringRef name, bool output);
  void addOf(KernelOp kernel, unsigned i);
  void addAll(KernelOp kernel);
  /// `described`: whether arguments have roles.
  void give(KernelOp kernel, bool described) const;
};

/// A chunk's value between two kernels; `blocks` of them side by side along the last axis.
BufferType bufferFor(mlir::Type type, mlir::Type element, int64_t blocks = 1);
inline BufferType bufferFor(mlir::Value value, mlir::Type element, int64_t blocks = 1) { return bufferFor(value.getType(), element, blocks); }

/// Puts a kernel back as it was, in place of what became of it.
KernelOp restore(KernelOp kernel, mlir::OwningOpRef<mlir::Operation *> whole);

/// Removes operations without uses, in the loop and around it, and arguments that nothing touches any more.
void dropUnused(KernelOp kernel, mlir::Block *loop);

} // namespace fla::tile

#endif
