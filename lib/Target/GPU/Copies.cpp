//===- Copies.cpp - tiles that are copied to shared memory ----------------===//
//
// A copy moves pieces of 16 bytes (or 8, or 4) past the registers where the chip can,
// element by element where the caller's tensor is not aligned to pieces. Products read
// their operands where they were copied to; registers of other tiles are read from
// there, as 8x8 matrices where the layout is made of those.
//
//===----------------------------------------------------------------------===//
#include "Lowering.h"

#include <numeric>

namespace fla::gpu {

void Lowering::alloc(tile::AllocOp op) {
  tile::SharedType type = op.getType();
  SmallVector<int64_t> shape{type.getStages()};
  llvm::append_range(shape, type.getShape());
  rooms[op] = shared.allocate(shape, type.getElementType(), {16});
}

SharedTile Lowering::stageOf(Value room, Value stage) {
  SharedTile one = rooms.lookup(room);
  int64_t bytes = one.stride(0) * one.elementBytes();
  one.shape.erase(one.shape.begin());
  one.strides.erase(one.strides.begin());
  Value number = arith::TruncIOp::create(e.b, e.loc, e.b.getI32Type(), scalar(stage));
  one.base = arith::AddIOp::create(e.b, e.loc, one.base, arith::MulIOp::create(e.b, e.loc, number, i32(bytes)));
  return one;
}

//===----------------------------------------------------------------------===//
// Copies
//===----------------------------------------------------------------------===//

/// Bytes that one piece of a copy may have: rows and what bounds them are multiples of them.
static int64_t pieceBytes(const Access &a, const SharedTile &to) {
  if (to.shape.empty())
    return to.elementBytes();
  int64_t run = std::gcd(to.shape.back(), 16 / to.elementBytes());
  if (a.extents.back())
    run = std::gcd(run, a.whole);
  for (int64_t stride : ArrayRef(a.strides).drop_back())
    run = std::gcd(run, stride);
  return run * to.elementBytes();
}

/// A copy and what its path depends on: `present` and `aligned` never change in a kernel, `whole` (null: always) may.
struct Lowering::Copy {
  tile::CopyOp op;
  SharedTile to;
  Access a;
  int64_t bytes = 0; ///< of a piece
  Value present, aligned, whole;
};

Lowering::Copy Lowering::prepare(tile::CopyOp op) {
  tile::SharedType room = op.getShared().getType();
  Type tile = RankedTensorType::get(room.getShape(), room.getElementType());
  Copy copy;
  copy.op = op;
  copy.to = stageOf(op.getShared(), op.getStage());
  copy.a = access(op.getBuffer(), op.getChunk(), room.getShape().empty() ? room.getElementType() : tile);
  copy.bytes = pieceBytes(copy.a, copy.to);
  // Sequences without tokens have nothing to copy.
  copy.present = arith::AndIOp::create(e.b, e.loc, isPresent(op.getBuffer()), e.cmp(arith::CmpIPredicate::sgt, numRows, e.index(0)));
  copy.aligned = copy.bytes < 4 ? e.cmp(arith::CmpIPredicate::eq, i32(0), i32(1)) : isAligned(copy.a, copy.bytes);
  auto require = [&](Value full) { copy.whole = copy.whole ? arith::AndIOp::create(e.b, e.loc, copy.whole, full).getResult() : full; };
  if (copy.a.limit)
    require(e.cmp(arith::CmpIPredicate::eq, copy.a.limit, i32(kernel.getChunk())));
  for (auto [axis, extent] : llvm::enumerate(copy.a.extents))
    if (extent)
      require(e.cmp(arith::CmpIPredicate::eq, extent, i32(room.getShape()[axis])));
  return copy;
}

/// Copies that start together: mostly all are whole chunks of aligned tensors, which takes one question.
void Lowering::copyAll(ArrayRef<tile::CopyOp> ops) {
  shared.beforeCopy();
  std::vector<Copy> copies;
  for (tile::CopyOp op : ops)
    copies.push_back(prepare(op));
  Value always, now;
  auto require = [&](Value &all, Value one) { all = all && one ? arith::AndIOp::create(e.b, e.loc, all, one).getResult() : one ? one : all; };
  for (const Copy &copy : copies) {
    require(always, copy.present);
    require(always, copy.aligned);
    require(now, copy.whole);
  }
  require(always, now);
  e.when(
      always,
      [&] {
        for (const Copy &copy : copies)
          if (copy.bytes >= 4)
            copyPieces(copy.a, copy.to, copy.bytes, true);
      },
      [&] {
        for (const Copy &copy : copies)
          copyOne(copy);
      });
}

void Lowering::copyOne(const Copy &copy) {
  if (copy.bytes < 4)
    return copyElements(copy);
  Value fast = arith::AndIOp::create(e.b, e.loc, copy.present, copy.aligned);
  if (copy.a.limit)
    fast = arith::AndIOp::create(e.b, e.loc, fast, e.cmp(arith::CmpIPredicate::sgt, copy.a.limit, i32(0)));
  e.when(fast, [&] { copyPieces(copy.a, copy.to, copy.bytes, false); }, [&] { copyElements(copy); });
}

/// Each thread moves every so-manieth piece. With `whole` all pieces lie in the sequence and in the buffer; else
/// those beyond become zeros.
void Lowering::copyPieces(const Access &a, const SharedTile &to, int64_t bytes, bool whole) {
  int64_t size = to.elementBytes(), run = bytes / size, perRow = (to.shape.empty() ? 1 : to.shape.back()) / run;
  int64_t rows = to.shape.size() > 1 ? to.shape[0] : 1, pieces = rows * perRow, threads = warps * target.chip.lanes;
  // What a thread adds does not change from chunk to chunk, nor what a step adds.
  Value firstRow = arith::DivUIOp::create(e.b, e.loc, thread, i32(perRow));
  Value column = arith::MulIOp::create(e.b, e.loc, arith::RemUIOp::create(e.b, e.loc, thread, i32(perRow)), i32(run));
  Value rowStride = a.rowStride ? a.rowStride : e.index(rows > 1 ? a.strides[0] : 0);
  auto wide = [&](Value x) { return arith::ExtUIOp::create(e.b, e.loc, e.i64(), x).getResult(); };
  Value ownOffset = e.add(e.mul(wide(firstRow), rowStride), wide(column));
  Value place = arith::AddIOp::create(e.b, e.loc, arith::MulIOp::create(e.b, e.loc, firstRow, i32(to.rowStride() * size)),
                                      arith::MulIOp::create(e.b, e.loc, column, i32(size)));
  SmallVector<std::pair<Value, Value>> stores; // where copies pass through registers
  auto move = [&](Value rowsBelow, Value source, Value address) {
    Value inside;
    auto require = [&](Value below, Value limit) {
      Value here = e.cmp(arith::CmpIPredicate::slt, below, limit);
      inside = inside ? arith::AndIOp::create(e.b, e.loc, inside, here).getResult() : here;
    };
    Value row = whole ? Value() : arith::AddIOp::create(e.b, e.loc, firstRow, rowsBelow).getResult();
    if (!whole && a.limit)
      require(row, a.limit);
    else if (!whole && a.extents.size() > 1 && a.extents[0])
      require(row, a.extents[0]);
    if (!whole && !a.extents.empty() && a.extents.back())
      require(column, a.extents.back());
    if (inside)
      source = e.select(inside, source, a.base);
    if (target.copiesAsync())
      return target.copyAsync(e, address, source, bytes, inside);
    Type words = Emitter::vec(e.b.getI32Type(), bytes / 4);
    Value loaded = LLVM::LoadOp::create(e.b, e.loc, words, source, bytes);
    if (inside)
      loaded = e.select(inside, loaded, LLVM::ZeroOp::create(e.b, e.loc, words));
    stores.push_back({loaded, address});
  };
  auto finish = [&] {
    for (auto [value, address] : stores)
      LLVM::StoreOp::create(e.b, e.loc, value, address, bytes);
    stores.clear();
  };
  Value source = e.at(a.base, ownOffset, a.stored);
  if (pieces < threads) {
    e.when(e.cmp(arith::CmpIPredicate::slt, thread, i32(pieces)), [&] { move(i32(0), source, shared.address(to, place, 0)), finish(); });
    return;
  }
  int64_t stepRows = threads / perRow;
  if (stepRows == 0 || threads % perRow != 0 || !whole) {
    // Compact where it is seldom run.
    Value start = wide(thread);
    e.loop(start, e.index(pieces), threads, ValueRange(), [&](Value index, ValueRange) {
      Value piece = arith::TruncIOp::create(e.b, e.loc, e.b.getI32Type(), index);
      firstRow = arith::DivUIOp::create(e.b, e.loc, piece, i32(perRow));
      column = arith::MulIOp::create(e.b, e.loc, arith::RemUIOp::create(e.b, e.loc, piece, i32(perRow)), i32(run));
      Value offset = e.add(e.mul(wide(firstRow), rowStride), wide(column));
      Value at = arith::AddIOp::create(e.b, e.loc, arith::MulIOp::create(e.b, e.loc, firstRow, i32(to.rowStride() * size)),
                                       arith::MulIOp::create(e.b, e.loc, column, i32(size)));
      move(i32(0), e.at(a.base, offset, a.stored), shared.address(to, at, 0));
      finish();
      return SmallVector<Value>();
    });
    return;
  }
  Value step = e.mul(rowStride, stepRows);
  for (int64_t below = 0; below < rows; below += stepRows) {
    move(i32(below), source, shared.address(to, place, below * to.rowStride() * size));
    source = e.at(source, step, a.stored);
  }
  finish();
}

void Lowering::copyElements(const Copy &copy) {
  tile::CopyOp op = copy.op;
  const Access &a = copy.a;
  const SharedTile &to = copy.to;
  Value present = copy.present;
  int64_t columns = to.shape.empty() ? 1 : to.shape.back(), rows = to.shape.size() > 1 ? to.shape[0] : 1, size = to.elementBytes();
  Value first = arith::ExtUIOp::create(e.b, e.loc, e.i64(), thread);
  bool tokens = op.getBuffer().getType().getKind() == tile::BufferKind::token;
  e.loop(first, e.index(rows * columns), warps * target.chip.lanes, ValueRange(), [&](Value index, ValueRange) {
    Value element = arith::TruncIOp::create(e.b, e.loc, e.b.getI32Type(), index);
    Value row = arith::DivUIOp::create(e.b, e.loc, element, i32(columns)), column = arith::RemUIOp::create(e.b, e.loc, element, i32(columns));
    Value inside = present;
    auto require = [&](Value x, Value limit) { inside = arith::AndIOp::create(e.b, e.loc, inside, e.cmp(arith::CmpIPredicate::slt, x, limit)); };
    if (a.limit)
      require(row, a.limit);
    else if (a.extents.size() > 1 && a.extents[0])
      require(row, a.extents[0]);
    if (!a.extents.empty() && a.extents.back())
      require(column, a.extents.back());
    // What stands for an absent tensor does not reach beyond the sequence.
    Value nothing = e.real(a.stored, 0.0), otherwise = e.real(a.stored, op.getAbsent().convertToDouble());
    if (tokens && !op.getAbsent().isZero())
      otherwise = e.select(e.cmp(arith::CmpIPredicate::slt, row, a.limit), otherwise, nothing);
    otherwise = e.select(present, nothing, otherwise);
    auto value = scf::IfOp::create(
        e.b, e.loc, inside,
        [&](OpBuilder &, Location) {
          Value offset = arith::ExtUIOp::create(e.b, e.loc, e.i64(), column), down = arith::ExtUIOp::create(e.b, e.loc, e.i64(), row);
          if (to.shape.size() > 1)
            offset = e.add(offset, a.rowStride ? e.mul(down, a.rowStride) : e.mul(down, a.strides[0]));
          scf::YieldOp::create(e.b, e.loc, e.load(e.at(a.base, offset, a.stored), a.stored, 1));
        },
        [&](OpBuilder &, Location) { scf::YieldOp::create(e.b, e.loc, otherwise); });
    Value place = arith::AddIOp::create(e.b, e.loc, arith::MulIOp::create(e.b, e.loc, row, i32(to.rowStride() * size)),
                                        arith::MulIOp::create(e.b, e.loc, column, i32(size)));
    LLVM::StoreOp::create(e.b, e.loc, value.getResult(0), shared.address(to, place, 0), size);
    return SmallVector<Value>();
  });
}

void Lowering::wait() {
  target.waitForCopies(e);
  shared.synchronize();
}

//===----------------------------------------------------------------------===//
// Reads
//===----------------------------------------------------------------------===//

/// Whether a product takes the operand from where it was copied to.
bool Lowering::isReadInPlace(tile::ReadOp op, OpOperand &use) {
  auto dot = dyn_cast<tile::DotOp>(use.getOwner());
  if (!dot || use.getOperandNumber() > 1 || op.getShared().getType().getElementType() != operands.element || !atomOrientation(dot))
    return false;
  return use.getOperandNumber() == 1 || dot.getPairs() == tile::Pairs::all || dot.restrictsResult();
}

void Lowering::read(tile::ReadOp op) {
  SharedTile from = copied[op] = stageOf(op.getShared(), op.getStage());
  if (llvm::all_of(op->getUses(), [&](OpOperand &use) { return isReadInPlace(op, use); }))
    return;
  shared.beforeRead(from);
  if (isa<RankedTensorType>(op.getType()))
    return define(op, readRegisters(from, layout(op), elementOf(op)));
  Value x = e.load(shared.address(from, i32(0), 0), from.element, 1);
  define(op, {x.getType() == op.getType() ? x : arith::ExtFOp::create(e.b, e.loc, op.getType(), x).getResult()});
}

void Lowering::addReads(WarpAccesses &accesses, const LinearLayout &held, Type element) {
  if (readsMatrices(held, element))
    return accesses.addMatrices();
  int64_t run = runOfPieces(held, element, /*transposed=*/false);
  accesses.add(held, run, run * Emitter::bytes(element), /*once=*/false, [](const Coordinates &at) { return at; });
}

Registers Lowering::readRegisters(const SharedTile &from, const LinearLayout &held, Type element) {
  SmallVector<Value> pieces;
  int64_t run = 2, size = from.elementBytes();
  Value start = i32(0);
  for (int64_t axis = 0; axis < held.rank(); ++axis)
    start = arith::AddIOp::create(e.b, e.loc, start, arith::MulIOp::create(e.b, e.loc, warpPart(held, axis), i32(from.stride(axis) * size)));
  auto offsetOf = [&](int64_t r) {
    Coordinates at = held.apply(r, 0, 0);
    int64_t offset = 0;
    for (int64_t axis = 0; axis < held.rank(); ++axis)
      offset += at[axis] * from.stride(axis) * size;
    return offset;
  };
  if (readsMatrices(held, from.element)) {
    SmallVector<int64_t> offsets;
    for (int64_t r = 0; r < held.numRegisters(); r += run)
      offsets.push_back(offsetOf(r));
    for (Value matrix : loadMatrices(from, start, from.stride(0) * size, offsets, /*transposed=*/!isMadeOfMatrices(held, 0)))
      pieces.push_back(LLVM::BitcastOp::create(e.b, e.loc, Emitter::vec(from.element, 2), matrix));
  } else {
    run = std::min(runOfPieces(held, from.element, /*transposed=*/false), std::max<int64_t>(1, from.alignment() / size));
    for (int64_t r = 0; r < held.numRegisters(); r += run) {
      Value offset = i32(0);
      for (int64_t axis = 0; axis < held.rank(); ++axis)
        offset =
            arith::AddIOp::create(e.b, e.loc, offset, arith::MulIOp::create(e.b, e.loc, coordinate(held, r, axis), i32(from.stride(axis) * size)));
      pieces.push_back(LLVM::LoadOp::create(e.b, e.loc, Emitter::vec(from.element, run), shared.address(from, offset, 0), run * size));
    }
  }
  Registers list;
  for (Value piece : pieces) {
    if (from.element != element)
      piece = arith::ExtFOp::create(e.b, e.loc, Emitter::vec(element, run), piece);
    for (int64_t i = 0; i < run; ++i)
      list.push_back(run > 1 ? LLVM::ExtractElementOp::create(e.b, e.loc, piece, i32(i)).getResult() : piece);
  }
  return list;
}

} // namespace fla::gpu
