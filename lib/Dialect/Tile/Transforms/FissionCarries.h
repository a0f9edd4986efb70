//===- FissionCarries.h - two loops of one ----------------------*- C++ -*-===//
#ifndef FLA_LIB_DIALECT_TILE_TRANSFORMS_FISSIONCARRIES_H
#define FLA_LIB_DIALECT_TILE_TRANSFORMS_FISSIONCARRIES_H

#include "Fission.h"
#include "llvm/ADT/BitVector.h"
#include "llvm/ADT/SetVector.h"

namespace fla::tile {

/// Divides what a loop carries into what costs products and what does not and only reads
/// the rest: sums of gradients over tokens, scans whose inputs are gradients. These, the late
/// ones, can go round a loop of their own.
class Carries {
public:
  Carries(KernelOp kernel, mlir::scf::ForOp loop) : kernel(kernel), loop(loop) {}
  /// False if nothing is late, or all is.
  bool find();
  /// Makes a kernel `<name>_late` for them behind the kernel, which stores what that one reads.
  KernelOp divide();

private:
  llvm::SetVector<mlir::Operation *> dependentsOf(mlir::Value value);
  bool inLoop(mlir::Operation *op) { return op && op->getBlock() == loop.getBody(); }
  void chooseLate();
  bool need(mlir::Value value);
  BufferType bufferOf(mlir::Value value);
  void store(llvm::StringRef name);
  void loadInstead(KernelOp other, llvm::StringRef name, mlir::IRMapping &copies);

  KernelOp kernel;
  mlir::scf::ForOp loop;
  mlir::Value index;                          ///< of the chunk
  llvm::BitVector late;                       ///< among what is carried
  llvm::SetVector<mlir::Operation *> lateOps; ///< of the loop
  llvm::SetVector<mlir::Operation *> ends;    ///< after the loop, of what is late
  llvm::SetVector<mlir::Value> stored;
  llvm::DenseSet<mlir::Operation *> tied; ///< depend on what is carried and not late
};

} // namespace fla::tile

#endif
