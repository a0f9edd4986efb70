//===- Plan.h - where each tile of a kernel lives ---------------*- C++ -*-===//
//
// Elementwise values with one elementwise user of the same block are computed
// inside that user's loop; broadcasts, masks and constants are computed wherever
// they are used. All others have a place in the workspace, shared by values
// that are never alive together. A product is added to its init in place. A loop-carried tile keeps one place: the
// initial value is copied (or computed) there, the next value too.
//
// In:  %s = scf.for (%a = %zero) { %b = arith.addf %a, %x ; scf.yield %b }
// Out: %a, %b and %s share one place: %b overwrites %a, element by element.
//
//===----------------------------------------------------------------------===//
#ifndef FLA_LIB_TARGET_CPU_PLAN_H
#define FLA_LIB_TARGET_CPU_PLAN_H

#include "fla/Dialect/Tile/IR/Tile.h"

namespace fla::cpu {
using namespace mlir;

/// An operation that a loop over elements can compute: arith and math on
/// tensors, broadcasts, row masks, splats.
bool isPointwise(Operation *op);
/// Pointwise, and cheap enough to be computed again at every use.
bool isAlwaysInline(Operation *op);

class Plan {
public:
  explicit Plan(tile::KernelOp kernel);

  /// True if the value has a place in the workspace.
  bool isStored(Value value) const { return places.contains(resolve(value)); }
  /// Byte offset of the value in the workspace.
  int64_t offset(Value value) const { return spans[places.lookup(resolve(value))].offset; }
  /// True if both values live in the same place.
  bool samePlace(Value x, Value y) const { return places.lookup(resolve(x)) == places.lookup(resolve(y)); }
  /// Offset of the temporary copy that a yielded value needs (it stands in
  /// another carry's place), or -1.
  int64_t temporary(OpOperand &yielded) const;
  int64_t bytes() const { return total; }

  /// Follows reshapes to the value that owns the memory.
  static Value resolve(Value value);
  static int64_t sizeOf(Value value);

private:
  struct Span {
    int64_t start, end, bytes, offset;
  };
  struct Read {
    Value leaf;
    int64_t position;
    bool aligned; ///< read at the very element that is written
  };
  void number(Block &block);
  void place(Block &block);
  void readLeaves(Operation *root, Value value, bool aligned, bool inlines);
  void readOperands(Operation *root);
  int64_t seenFrom(Operation *reader, Value value) const;
  int newSpan(int64_t start, int64_t bytes);
  void shareInitial(Operation *loop);
  void shareYields(Operation *loop);
  void shareInit(tile::DotOp dot);
  void planTemporaries(Operation *loop);
  void allocate();

  DenseMap<Operation *, std::pair<int64_t, int64_t>> positions;
  DenseMap<Value, int> places;
  DenseMap<OpOperand *, int> temporaries;
  SmallVector<Span> spans;
  SmallVector<Read> reads;
  SmallVector<Operation *> loops;
  int64_t counter = 0, total = 0;
};

} // namespace fla::cpu

#endif
