//===- Slices.cpp - the slices of the tensor dialect ----------------------===//
#include "Lowering.h"

namespace fla::cpu {

/// Copies between a box of `whole` and `part`, which has the box's shape.
void Lowering::copySlice(Tile whole, Tile part, ArrayRef<int64_t> starts, ArrayRef<int64_t> strides, ArrayRef<Value> dynamic, bool toPart) {
  if (part.size() == 0)
    return;
  SmallVector<Value> first;
  unsigned next = 0;
  for (int64_t start : starts)
    first.push_back(ShapedType::isDynamic(start) ? dynamic[next++] : e.index(start));
  SmallVector<Value> inner;
  std::function<void()> axis = [&] {
    size_t at = inner.size();
    auto move = [&](Value j, int64_t width) {
      SmallVector<Value> to(inner), from;
      to.push_back(j);
      for (auto [i, index] : llvm::enumerate(to))
        from.push_back(e.add(first[i], e.mul(index, strides[i])));
      Value outside = e.at(whole.base, e.offset(whole.shape, from), whole.element);
      Value inside = e.at(part.base, e.offset(part.shape, to), part.element);
      toPart ? e.store(e.load(outside, whole.element, width), inside) : e.store(e.load(inside, part.element, width), outside);
    };
    if (at + 1 == part.shape.size()) {
      if (strides.back() == 1)
        return e.columns(part.shape.back(), part.element, move);
      return e.loop(0, part.shape.back(), 1, [&](Value j) { move(j, 1); });
    }
    e.loop(0, part.shape[at], 1, [&](Value i) {
      inner.push_back(i);
      axis();
      inner.pop_back();
    });
  };
  axis();
}

template <typename Op> static LogicalResult checkSlice(Op op) {
  bool fixed = llvm::none_of(op.getStaticSizes(), ShapedType::isDynamic) && llvm::none_of(op.getStaticStrides(), ShapedType::isDynamic);
  return fixed ? success() : op.emitOpError("expected static sizes and strides in a kernel of the CPU target");
}

LogicalResult Lowering::extractSlice(tensor::ExtractSliceOp op) {
  if (failed(checkSlice(op)))
    return failure();
  Tile part = memory(op.getResult());
  part.shape.assign(op.getStaticSizes().begin(), op.getStaticSizes().end());
  SmallVector<Value> dynamic = llvm::map_to_vector(op.getOffsets(), [&](Value v) { return scalar(v); });
  copySlice(memory(op.getSource()), part, op.getStaticOffsets(), op.getStaticStrides(), dynamic, true);
  return success();
}

LogicalResult Lowering::insertSlice(tensor::InsertSliceOp op) {
  if (failed(checkSlice(op)))
    return failure();
  Tile to = memory(op.getResult());
  if (!op.getDest().getDefiningOp<tensor::EmptyOp>() && !plan.samePlace(op.getDest(), op.getResult()))
    e.copy(to.base, memory(op.getDest()).base, to.size(), to.element);
  Tile part = memory(op.getSource());
  part.shape.assign(op.getStaticSizes().begin(), op.getStaticSizes().end());
  SmallVector<Value> dynamic = llvm::map_to_vector(op.getOffsets(), [&](Value v) { return scalar(v); });
  copySlice(to, part, op.getStaticOffsets(), op.getStaticStrides(), dynamic, false);
  return success();
}

void Lowering::concat(tensor::ConcatOp op) {
  Tile to = memory(op.getResult());
  SmallVector<int64_t> starts(to.shape.size(), 0), strides(to.shape.size(), 1);
  for (Value input : op.getInputs()) {
    Tile part = memory(input);
    copySlice(to, part, starts, strides, {}, false);
    starts[op.getDim()] += part.shape[op.getDim()];
  }
}

} // namespace fla::cpu
