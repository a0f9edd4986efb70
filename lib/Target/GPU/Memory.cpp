//===- Memory.cpp - loads and stores of the caller's buffers --------------===//
//
// Chunks that lie whole inside their sequence take a path without conditions, in
// wide accesses: a tensor may begin at any of its elements, so that its alignment is
// looked at first. At the end of a sequence rows past it are not touched: loads read
// the last row instead and become zero, stores are left out.
//
//===----------------------------------------------------------------------===//
#include "Lowering.h"

#include <numeric>

namespace fla::gpu {

/// Rows of the chunk inside the sequence: min(numRows - chunk*C, C), at least 0.
Value Lowering::rowLimit(Value chunk) {
  Value left = e.sub(numRows, e.mul(scalar(chunk), kernel.getChunk()));
  Value rows = e.max(e.min(left, e.index(kernel.getChunk())), e.index(0));
  return arith::TruncIOp::create(e.b, e.loc, e.b.getI32Type(), rows);
}

void Lowering::valid(tile::ValidOp op) {
  Value limit = rowLimit(op.getChunk());
  LinearLayout held = layout(op);
  Registers list;
  for (int64_t r = 0; r < held.numRegisters(); ++r)
    list.push_back(e.cmp(arith::CmpIPredicate::slt, coordinate(held, r, 0), limit));
  define(op, list);
}

/// Whether the caller gave a tensor for a buffer.
Value Lowering::isPresent(Value buffer) {
  Value address = LLVM::PtrToIntOp::create(e.b, e.loc, e.i64(), argument(buffer, 0));
  return e.cmp(arith::CmpIPredicate::ne, address, e.index(0));
}

/// Whether everything that is `bytes` apart in the rows is a multiple of them in memory, in every chunk.
Value Lowering::isAligned(const Access &a, int64_t bytes) {
  Value address = LLVM::PtrToIntOp::create(e.b, e.loc, e.i64(), a.origin);
  for (Value stride : {a.rowStride, a.slotStride})
    if (stride)
      address = arith::OrIOp::create(e.b, e.loc, address, e.mul(stride, Emitter::bytes(a.stored)));
  return e.cmp(arith::CmpIPredicate::eq, arith::AndIOp::create(e.b, e.loc, address, e.index(bytes - 1)), e.index(0));
}

/// Quotient and remainder of numbers below 2^31.
std::pair<Value, Value> Lowering::divide(Value x, Value by) {
  Type i32 = e.b.getI32Type();
  Value small = arith::TruncIOp::create(e.b, e.loc, i32, x), divisor = arith::TruncIOp::create(e.b, e.loc, i32, by);
  Value quotient = arith::DivUIOp::create(e.b, e.loc, small, divisor);
  Value rest = arith::SubIOp::create(e.b, e.loc, small, arith::MulIOp::create(e.b, e.loc, quotient, divisor));
  return {arith::ExtUIOp::create(e.b, e.loc, e.i64(), quotient), arith::ExtUIOp::create(e.b, e.loc, e.i64(), rest)};
}

/// Where the head's part of a buffer begins; divided once, where the kernel begins.
Value Lowering::headOffset(Value buffer) {
  Value &offset = headOffsets[buffer];
  if (!offset) {
    OpBuilder::InsertionGuard guard(e.b);
    e.b.setInsertionPointAfter(head.getDefiningOp());
    // Mostly each head has its own part: a division takes as long as a load from a cache.
    Value group = argument(buffer, 4);
    auto own = scf::IfOp::create(
        e.b, e.loc, e.cmp(arith::CmpIPredicate::eq, group, e.index(1)), [&](OpBuilder &, Location) { scf::YieldOp::create(e.b, e.loc, head); },
        [&](OpBuilder &, Location) { scf::YieldOp::create(e.b, e.loc, divide(head, group).first); });
    offset = e.mul(own.getResult(0), argument(buffer, 3));
  }
  return offset;
}

Access Lowering::access(Value buffer, Value chunk, Type tileType) {
  auto type = cast<tile::BufferType>(buffer.getType());
  bool token = type.getKind() == tile::BufferKind::token;
  Access a;
  a.stored = type.getElementType();
  Value offset = e.index(0), chunkOffset;
  if (type.getKind() != tile::BufferKind::value)
    offset = headOffset(buffer);
  switch (type.getKind()) {
  case tile::BufferKind::token: {
    a.rowStride = argument(buffer, 2);
    offset = e.add(offset, e.add(e.mul(batch, argument(buffer, 1)), e.mul(firstRow, a.rowStride)));
    chunkOffset = e.mul(scalar(chunk), e.mul(a.rowStride, kernel.getChunk()));
    a.limit = rowLimit(chunk);
    break;
  }
  case tile::BufferKind::state:
    offset = e.add(offset, e.mul(sequence, argument(buffer, 1)));
    break;
  case tile::BufferKind::saved:
    a.slotStride = argument(buffer, 1);
    offset = e.add(offset, e.mul(firstSlot, a.slotStride));
    chunkOffset = e.mul(scalar(chunk), a.slotStride);
    break;
  case tile::BufferKind::param:
  case tile::BufferKind::value:
    break;
  }
  ArrayRef<int64_t> shape, full = type.getShape();
  if (auto tensor = dyn_cast<RankedTensorType>(tileType))
    shape = token ? tensor.getShape().drop_front() : tensor.getShape();
  a.strides.assign(shape.size(), 1);
  a.extents.assign(shape.size(), Value());
  int64_t stride = 1, blocks = kernel.getBlocks();
  for (int64_t axis = shape.size() - 1; axis >= 0; --axis) {
    a.strides[axis] = stride;
    bool sliced = shape[axis] < full[axis]; // the block's part of this axis
    int64_t extent = sliced ? llvm::divideCeil(full[axis], blocks) : full[axis];
    Value start = sliced ? e.mul(blockOfColumns, extent) : Value();
    if (sliced && extent * blocks > full[axis]) { // the last parts are shorter, or empty
      Value left = e.max(e.min(e.sub(e.index(full[axis]), start), e.index(extent)), e.index(0));
      a.extents[axis] = arith::TruncIOp::create(e.b, e.loc, e.b.getI32Type(), left);
      start = e.min(start, e.index(full[axis] - 1));
    } else if (extent < shape[axis]) {
      a.extents[axis] = i32(extent);
    }
    if (a.extents[axis] && stride == 1)
      a.whole = std::gcd(full[axis], extent);
    if (start)
      offset = e.add(offset, e.mul(start, stride));
    stride *= full[axis];
  }
  if (token && isa<RankedTensorType>(tileType)) {
    a.strides.insert(a.strides.begin(), 0);
    a.extents.insert(a.extents.begin(), Value());
  }
  // What the chunk adds comes last: the rest is computed once.
  a.base = a.origin = e.at(argument(buffer, 0), offset, a.stored);
  if (chunkOffset)
    a.base = e.at(a.origin, chunkOffset, a.stored);
  return a;
}

/// Whether a register's element lies inside the buffer; null where all of the tile does.
Value Lowering::isInside(const Access &a, const LinearLayout &held, int64_t reg) {
  Value inside;
  for (auto [axis, extent] : llvm::enumerate(a.extents))
    if (extent) {
      Value here = e.cmp(arith::CmpIPredicate::slt, coordinate(held, reg, axis), extent);
      inside = inside ? arith::AndIOp::create(e.b, e.loc, inside, here).getResult() : here;
    }
  return inside;
}

/// Neighbours that one access may move: all of them lie inside the buffer, or none.
static int64_t runOf(const LinearLayout &layout, ArrayRef<int64_t> strides, Type stored, int64_t whole) {
  if (strides.empty() || strides.back() != 1)
    return 1;
  int64_t run = std::min<int64_t>(layout.contiguous(layout.rank() - 1), 16 / Emitter::bytes(stored));
  for (int64_t stride : strides.drop_back()) // inner axes begin at multiples of a run, too
    run = std::gcd(run, stride);
  return std::gcd(run, whole);
}

Registers Lowering::loadRegisters(Access &a, const LinearLayout &held, Type element, bool whole) {
  int64_t run = whole ? runOf(held, a.strides, a.stored, a.whole) : 1;
  Registers list;
  Value zero = e.real(element, 0.0);
  for (int64_t r = 0; r < held.numRegisters(); r += run) {
    Value inner = i32(0), row, offset;
    for (int64_t axis = 0; axis < held.rank(); ++axis) {
      if (a.rowStride && axis == 0)
        row = coordinate(held, r, 0);
      else
        inner = arith::AddIOp::create(e.b, e.loc, inner, arith::MulIOp::create(e.b, e.loc, coordinate(held, r, axis), i32(a.strides[axis])));
    }
    Value inside = isInside(a, held, r);
    if (inside)
      inner = e.select(inside, inner, i32(0));
    offset = arith::ExtUIOp::create(e.b, e.loc, e.i64(), inner);
    if (row) {
      Value near = row;
      if (!whole)
        near = e.max(e.min(row, arith::SubIOp::create(e.b, e.loc, a.limit, i32(1))), i32(0));
      offset = e.add(offset, e.mul(arith::ExtUIOp::create(e.b, e.loc, e.i64(), near), a.rowStride));
    }
    Value loaded = e.load(e.at(a.base, offset, a.stored), a.stored, run);
    cast<LLVM::LoadOp>(loaded.getDefiningOp()).setAlignment(run * Emitter::bytes(a.stored));
    Value valid = row && !whole ? e.cmp(arith::CmpIPredicate::slt, row, a.limit) : Value();
    if (inside)
      valid = valid ? arith::AndIOp::create(e.b, e.loc, valid, inside).getResult() : inside;
    for (int64_t i = 0; i < run; ++i) {
      Value x = run > 1 ? LLVM::ExtractElementOp::create(e.b, e.loc, loaded, i32(i)).getResult() : loaded;
      if (a.stored != element)
        x = arith::ExtFOp::create(e.b, e.loc, element, x);
      list.push_back(valid ? e.select(valid, x, zero) : x);
    }
  }
  return list;
}

void Lowering::storeRegisters(Access &a, const LinearLayout &held, ArrayRef<Value> list, bool whole) {
  int64_t run = whole ? runOf(held, a.strides, a.stored, a.whole) : 1, copies = held.copies().reg;
  for (int64_t r = 0; r < held.numRegisters(); r += run) {
    if (r & copies)
      continue;
    Value inner = i32(0), row;
    for (int64_t axis = 0; axis < held.rank(); ++axis) {
      if (a.rowStride && axis == 0)
        row = coordinate(held, r, 0);
      else
        inner = arith::AddIOp::create(e.b, e.loc, inner, arith::MulIOp::create(e.b, e.loc, coordinate(held, r, axis), i32(a.strides[axis])));
    }
    Value stored = run > 1 ? LLVM::UndefOp::create(e.b, e.loc, Emitter::vec(a.stored, run)).getResult() : Value();
    for (int64_t i = 0; i < run; ++i) {
      Value x = list[r + i];
      if (a.stored != x.getType())
        x = arith::TruncFOp::create(e.b, e.loc, a.stored, x);
      stored = run > 1 ? LLVM::InsertElementOp::create(e.b, e.loc, stored, x, i32(i)).getResult() : x;
    }
    auto write = [&] {
      Value offset = arith::ExtUIOp::create(e.b, e.loc, e.i64(), inner);
      if (row)
        offset = e.add(offset, e.mul(arith::ExtUIOp::create(e.b, e.loc, e.i64(), row), a.rowStride));
      LLVM::StoreOp::create(e.b, e.loc, stored, e.at(a.base, offset, a.stored), run * Emitter::bytes(a.stored));
    };
    Value valid = isInside(a, held, r);
    if (row && !whole) {
      Value exists = e.cmp(arith::CmpIPredicate::slt, row, a.limit);
      valid = valid ? arith::AndIOp::create(e.b, e.loc, valid, exists).getResult() : exists;
    }
    valid ? e.when(valid, write) : write();
  }
}

/// Whether a whole chunk lies there in accesses as wide as the layout allows; null if that is certain.
Value Lowering::isWhole(const Access &a, const LinearLayout &held) {
  Value whole;
  if (a.rowStride)
    whole = e.cmp(arith::CmpIPredicate::eq, a.limit, i32(kernel.getChunk()));
  int64_t bytes = runOf(held, a.strides, a.stored, a.whole) * Emitter::bytes(a.stored);
  if (bytes == Emitter::bytes(a.stored))
    return whole;
  Value aligned = isAligned(a, bytes);
  return whole ? arith::AndIOp::create(e.b, e.loc, whole, aligned).getResult() : aligned;
}

void Lowering::load(tile::LoadOp op) {
  Type type = op.getType(), element = elementOf(op);
  auto tensor = dyn_cast<RankedTensorType>(type);
  LinearLayout held = tensor ? layout(op) : LinearLayout();
  int64_t count = tensor ? held.numRegisters() : 1;
  SmallVector<Type> types(count, element);
  bool tokens = op.getBuffer().getType().getKind() == tile::BufferKind::token;
  auto read = [&](bool whole, Access &a) {
    if (tensor)
      return loadRegisters(a, held, element, whole);
    Value x = e.load(a.base, a.stored, 1);
    if (a.stored != element)
      x = a.stored.getIntOrFloatBitWidth() > element.getIntOrFloatBitWidth() ? arith::TruncFOp::create(e.b, e.loc, element, x).getResult()
                                                                             : arith::ExtFOp::create(e.b, e.loc, element, x).getResult();
    return Registers{x};
  };
  auto yield = [&](ValueRange list) { scf::YieldOp::create(e.b, e.loc, list); };
  // A chunk without rows has nothing to read.
  Value readable = isPresent(op.getBuffer());
  if (op.getChunk())
    readable = arith::AndIOp::create(e.b, e.loc, readable, e.cmp(arith::CmpIPredicate::sgt, rowLimit(op.getChunk()), i32(0)));
  auto present = scf::IfOp::create(
      e.b, e.loc, readable,
      [&](OpBuilder &, Location) {
        Access a = access(op.getBuffer(), op.getChunk(), type);
        Value whole = tensor ? isWhole(a, held) : Value();
        if (!whole)
          return yield(read(true, a));
        auto both = scf::IfOp::create(
            e.b, e.loc, whole, [&](OpBuilder &, Location) { yield(read(true, a)); }, [&](OpBuilder &, Location) { yield(read(false, a)); });
        yield(both.getResults());
      },
      [&](OpBuilder &, Location) {
        Registers list(count, e.real(element, op.getAbsent().convertToDouble()));
        // Rows past the end are zero, whatever stands for an absent buffer.
        if (tensor && tokens && !op.getAbsent().isZero()) {
          Value limit = rowLimit(op.getChunk());
          for (int64_t r = 0; r < count; ++r)
            list[r] = e.select(e.cmp(arith::CmpIPredicate::slt, coordinate(held, r, 0), limit), list[r], e.real(element, 0.0));
        }
        yield(list);
      });
  define(op, Registers(present.getResults()));
}

void Lowering::store(tile::StoreOp op) {
  Value value = op.getValue();
  auto tensor = dyn_cast<RankedTensorType>(value.getType());
  e.when(isPresent(op.getBuffer()), [&] {
    Access a = access(op.getBuffer(), op.getChunk(), value.getType());
    if (!tensor) {
      Value x = scalar(value);
      if (x.getType() != a.stored)
        x = e.convert(x, a.stored);
      return e.when(e.cmp(arith::CmpIPredicate::eq, thread, i32(0)), [&] { LLVM::StoreOp::create(e.b, e.loc, x, a.base, Emitter::bytes(a.stored)); });
    }
    LinearLayout held = layout(value);
    Value whole = isWhole(a, held);
    auto write = [&](bool whole) { storeRegisters(a, held, registers(value), whole); };
    once(held, [&] { whole ? e.when(whole, [&] { write(true); }, [&] { write(false); }) : write(true); });
  });
}

} // namespace fla::gpu
