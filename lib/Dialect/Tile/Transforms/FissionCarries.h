//===- FissionCarries.h - two loops of one ----------------------*- C++ -*-===//
#ifndef FLA_LIB_DIALECT_TILE_TRANSFORMS_FISSIONCARRIES_H
#define FLA_LIB_DIALECT_TILE_TRANSFORMS_FISSIONCARRIES_H

#include "Fission.h"
#include "llvm/ADT/BitVector.h"
#include "llvm/ADT/SetVector.h"

namespace fla::tile {

/// Divides what a loop carries in two, of which the late part only reads the early one, so that
/// each can go round a loop of its own.
class Carries {
public:
  Carries(KernelOp kernel, mlir::scf::ForOp loop) : kernel(kernel), loop(loop) {}
  /// Late is what costs no products and only reads the rest: sums of gradients over tokens,
  /// scans whose inputs are gradients. False if nothing is late, or all is.
  bool findLate();
  /// Early is what costs no products and reads nothing of the rest: scans of what tokens bring.
  /// False if nothing is early, or all is.
  bool findEarly();
  /// Makes a kernel `name` of the late part, behind the kernel, which stores what that one reads.
  KernelOp divide(llvm::StringRef name);

private:
  llvm::SetVector<mlir::Operation *> dependentsOf(mlir::Value value);
  bool inLoop(mlir::Operation *op) { return op && op->getBlock() == loop.getBody(); }
  void chooseLate();
  bool isEarly(unsigned carried);
  void chooseEarly();
  void dependOnLate();
  bool divides();
  bool need(mlir::Value value);
  BufferType bufferOf(mlir::Value value);
  void store(llvm::StringRef name);
  void loadInstead(KernelOp other, llvm::StringRef name, mlir::IRMapping &copies);

  KernelOp kernel;
  mlir::scf::ForOp loop;
  mlir::Value index;                          ///< of the chunk
  bool again = false;                         ///< the late part does again what it reads, but for what is carried
  llvm::BitVector late;                       ///< among what is carried
  llvm::SetVector<mlir::Operation *> lateOps; ///< of the loop
  llvm::SetVector<mlir::Operation *> ends;    ///< after the loop, of what is late
  llvm::SetVector<mlir::Value> stored;
  llvm::DenseSet<mlir::Operation *> tied; ///< depend on what is carried and not late
};

} // namespace fla::tile

#endif
