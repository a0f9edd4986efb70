//===- Shared.cpp - tiles in shared memory --------------------------------===//
#include "Shared.h"

namespace fla::gpu {

int64_t SharedTile::bytes() const { return shape.empty() ? elementBytes() : shape.front() * strides.front(); }

int64_t SharedTile::alignment() const {
  int64_t aligned = kWidestAccess;
  for (int64_t stride : ArrayRef(strides).drop_back(strides.empty() ? 0 : 1))
    aligned = std::min(aligned, stride & -stride);
  return aligned;
}

SharedTile Shared::allocate(ArrayRef<int64_t> shape, Type element, Padding padding) {
  SharedTile tile;
  tile.number = spans.size();
  tile.element = element;
  tile.shape.assign(shape.begin(), shape.end());
  tile.strides = stridesOf(shape, tile.elementBytes(), padding);
  auto offset = arith::ConstantOp::create(e.b, e.loc, e.b.getI32IntegerAttr(0));
  tile.base = offset;
  ++clock;
  spans.push_back({clock, clock, int64_t(llvm::alignTo(tile.bytes(), 16)), depth, loops.back(), offset});
  return tile;
}

SharedTile Shared::allocateApart(ArrayRef<int64_t> shape, Type element, Padding padding) {
  SharedTile tile = allocate(shape, element, padding);
  spans[tile.number].apart = true;
  return tile;
}

void Shared::barrier() {
  target.barrier(e);
  reads = writes = false;
}

void Shared::beforeWrite() {
  if (reads)
    barrier();
  writes = true;
}

void Shared::beforeCopy() {
  if (reads)
    barrier();
}

void Shared::beforeRead(const SharedTile &tile) {
  if (writes)
    barrier();
  reads = true;
  Span &span = spans[tile.number];
  span.end = ++clock;
  // Read again in every turn of the loops around this read, so alive until they end.
  for (int64_t d = span.depth + 1; d <= depth; ++d)
    usedInside[d].push_back(tile.number);
}

void Shared::enterLoop() {
  ++depth;
  loops.push_back(++numLoops);
  usedInside.emplace_back();
  reads = writes = true;
}

void Shared::leaveLoop() {
  ++clock;
  for (int64_t number : usedInside.back())
    spans[number].end = clock;
  usedInside.pop_back();
  loops.pop_back();
  --depth;
  reads = writes = true;
}

Value Shared::address(const SharedTile &tile, Value offset, int64_t constant) {
  Value bytes = arith::AddIOp::create(e.b, e.loc, tile.base, offset);
  Value at = LLVM::GEPOp::create(e.b, e.loc, memory.getType(), e.b.getI8Type(), memory, ArrayRef<LLVM::GEPArg>{bytes});
  if (constant)
    at = LLVM::GEPOp::create(e.b, e.loc, memory.getType(), e.b.getI8Type(), at, ArrayRef<LLVM::GEPArg>{LLVM::GEPArg(static_cast<int32_t>(constant))});
  return at;
}

/// First fit, in the order of creation; what is apart comes after all others.
int64_t Shared::finish() {
  struct Placed {
    int64_t end, offset, bytes;
  };
  SmallVector<Placed> alive;
  int64_t total = 0;
  for (Span &span : spans) {
    if (span.apart)
      continue;
    llvm::erase_if(alive, [&](const Placed &other) { return other.end < span.start; });
    llvm::sort(alive, [](const Placed &x, const Placed &y) { return x.offset < y.offset; });
    int64_t at = 0;
    for (const Placed &other : alive) {
      if (other.offset - at >= span.bytes)
        break;
      at = std::max(at, other.offset + other.bytes);
    }
    span.offset.setValueAttr(e.b.getI32IntegerAttr(at));
    total = std::max(total, at + span.bytes);
    alive.push_back({span.end, at, span.bytes});
  }
  for (Span &span : spans)
    if (span.apart) {
      span.offset.setValueAttr(e.b.getI32IntegerAttr(total));
      total += span.bytes;
    }
  return total;
}

} // namespace fla::gpu
