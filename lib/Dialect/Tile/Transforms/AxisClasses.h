//===- AxisClasses.h - axes of a kernel's tiles that are one ----*- C++ -*-===//
//
// Two axes are one where positions along them correspond: those of operands and
// results of elementwise work, the kept axes of a product and of its result, the
// axis that a product sums over in both of its operands, what a loop carries.
//
// An axis is *apart* if no operation sums over it, moves along it or mixes its
// positions: work on different positions of it never meets.
//
//===----------------------------------------------------------------------===//
#ifndef FLA_LIB_DIALECT_TILE_TRANSFORMS_AXISCLASSES_H
#define FLA_LIB_DIALECT_TILE_TRANSFORMS_AXISCLASSES_H

#include "fla/Dialect/Tile/IR/Tile.h"

namespace fla::tile {

class AxisClasses {
public:
  explicit AxisClasses(KernelOp kernel);
  /// Chooses the axis that is apart and has most elements among the matrices that loops
  /// carry; all tiles that have it are vectors and matrices with `size` positions along it.
  bool chooseApart();
  int64_t size() const { return chosenSize; }
  /// The axis of a value that is the chosen one, or none.
  std::optional<int64_t> apartAxis(mlir::Value value) const;

private:
  using Axis = std::pair<mlir::Value, int64_t>;
  int64_t find(int64_t number) const;
  int64_t numberOf(Axis axis);
  void unite(Axis x, Axis y);
  void mix(Axis axis) { mixed.insert(numberOf(axis)); }
  void visit(mlir::Operation *op);
  void visitDot(DotOp dot);
  void visitLoop(mlir::scf::ForOp loop);
  void uniteAll(mlir::ValueRange values);
  void mixAll(mlir::ValueRange values);
  void alongTokens(mlir::Operation *op);

  llvm::DenseMap<Axis, int64_t> numbers;
  llvm::SmallVector<int64_t> parents;
  llvm::SmallVector<Axis> axes;
  llvm::DenseSet<int64_t> mixed;
  llvm::SmallVector<Axis> carried;
  int64_t chosen = -1, chosenSize = 0;
};

} // namespace fla::tile

#endif
