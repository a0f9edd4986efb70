//===- Padding.cpp - boxes inside tiles that are powers of two ------------===//
#include "Lowering.h"

namespace fla::gpu {

/// Whether a register's coordinates lie inside a box; null where all of the tile does.
Value Lowering::isInBox(const LinearLayout &held, int64_t reg, ArrayRef<int64_t> box) {
  Value inside;
  for (auto [axis, bound] : llvm::enumerate(box))
    if (bound < held.shape()[axis]) {
      Value here = e.cmp(arith::CmpIPredicate::slt, coordinate(held, reg, axis), i32(bound));
      inside = inside ? arith::AndIOp::create(e.b, e.loc, inside, here).getResult() : here;
    }
  return inside;
}

void Lowering::inside(tile::InsideOp op) {
  LinearLayout held = layout(op);
  Registers list;
  for (int64_t r = 0; r < held.numRegisters(); ++r) {
    Value inside = isInBox(held, r, op.getBounds());
    list.push_back(inside ? inside : arith::ConstantOp::create(e.b, e.loc, e.b.getBoolAttr(true)).getResult());
  }
  define(op, list);
}

/// Each element of the result finds its number in row-major order, and that number in the operand.
void Lowering::reshapeBox(tile::ReshapeOp op) {
  LinearLayout held = layout(op);
  ArrayRef<int64_t> from = op.getFrom(), to = op.getTo();
  WarpAccesses reads = gathers(held, elementOf(op), [&](Coordinates at) {
    for (auto [x, bound] : llvm::zip_equal(at, to))
      x = std::min<int64_t>(x, bound - 1);
    return placeOf(numberOf(at, to), from);
  });
  SharedTile tile = stage(registers(op.getValue()), layout(op.getValue()), elementOf(op), reads);
  Registers list = gather(tile, held, [&](ArrayRef<Value> at) {
    Value flat = i32(0);
    for (auto [axis, x] : llvm::enumerate(at)) // beyond the box anything that is inside the tile
      flat = arith::AddIOp::create(e.b, e.loc, arith::MulIOp::create(e.b, e.loc, flat, i32(to[axis])), e.min(x, i32(to[axis] - 1)));
    SmallVector<Value> index(from.size());
    for (int64_t axis = from.size() - 1; axis >= 0; --axis) {
      index[axis] = arith::RemUIOp::create(e.b, e.loc, flat, i32(from[axis]));
      flat = arith::DivUIOp::create(e.b, e.loc, flat, i32(from[axis]));
    }
    return index;
  });
  for (int64_t r = 0; r < held.numRegisters(); ++r)
    if (Value inside = isInBox(held, r, to))
      list[r] = e.select(inside, list[r], e.real(elementOf(op), 0.0));
  define(op, list);
}

} // namespace fla::gpu
