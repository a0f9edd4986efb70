//===- Dot.cpp - products of tiles ----------------------------------------===//
//
// Operands pass through shared memory in their storage type, both with the axis
// that is summed over last, so that a thread reads neighbours along it at once.
// What a thread reads and where the sums go is in the layouts of the atom alone.
//
//===----------------------------------------------------------------------===//
#include "Lowering.h"

namespace fla::gpu {

/// Whether pair (token, past) counts.
Value Lowering::isVisible(tile::Pairs pairs, int64_t level, Value token, Value past) {
  using P = arith::CmpIPredicate;
  switch (pairs) {
  case tile::Pairs::all: break;
  case tile::Pairs::causal: return e.cmp(P::sle, past, token);
  case tile::Pairs::strict: return e.cmp(P::slt, past, token);
  case tile::Pairs::diagonal: return e.cmp(P::eq, past, token);
  case tile::Pairs::level: {
    // The same block of 2*level tokens, one in its right half and one in its left.
    Value differ = arith::XOrIOp::create(e.b, e.loc, token, past);
    Value block = e.cmp(P::eq, arith::AndIOp::create(e.b, e.loc, differ, i32(~(2 * level - 1))), i32(0));
    Value right = e.cmp(P::ne, arith::AndIOp::create(e.b, e.loc, token, i32(level)), i32(0));
    Value left = e.cmp(P::eq, arith::AndIOp::create(e.b, e.loc, past, i32(level)), i32(0));
    return arith::AndIOp::create(e.b, e.loc, block, arith::AndIOp::create(e.b, e.loc, right, left));
  }
  }
  return {};
}

/// A product's operand in shared memory; a restricted A (given `masked`) without its invisible entries.
SharedTile Lowering::operand(Value value, Type element, bool transposed, tile::DotOp masked) {
  bool restricted = masked && masked.getPairs() != tile::Pairs::all;
  int64_t form = transposed | (restricted ? (static_cast<int64_t>(masked.getPairs()) << 1) | (masked.getLevel() << 8) : 0);
  auto key = std::make_tuple(value, element, form);
  if (auto it = staged.find(key); reuse && it != staged.end())
    return it->second;
  LinearLayout held = layout(value);
  Registers list(registers(value));
  if (restricted)
    for (int64_t r = 0; r < held.numRegisters(); ++r) {
      Value visible = isVisible(masked.getPairs(), masked.getLevel(), coordinate(held, r, 0), coordinate(held, r, 1));
      list[r] = e.select(visible, list[r], e.real(list[r].getType(), 0.0));
    }
  return staged[key] = stage(list, held, element, transposed);
}

/// An atom's operand at (row, column) of a tile with the summed axis last; `swap` for B, whose layout is k x n.
SmallVector<Value> Lowering::fragment(const SharedTile &from, const LinearLayout &atom, int64_t run, int64_t row, int64_t column,
                                      ArrayRef<Value> thread, bool swap) {
  int64_t size = from.elementBytes();
  SmallVector<Value> pieces;
  for (int64_t r = 0; r < atom.numRegisters(); r += run) {
    Coordinates at = atom.apply(r, 0, 0);
    int64_t offset = ((row + at[swap ? 1 : 0]) * from.rowStride + column + at[swap ? 0 : 1]) * size;
    Value address = shared.address(from, thread[0], offset);
    Value piece = LLVM::LoadOp::create(e.b, e.loc, Emitter::vec(from.element, run), address, std::min<int64_t>(16, run * size));
    pieces.push_back(piece);
  }
  return pieces;
}

void Lowering::dotWithAtoms(tile::DotOp op, const Atom &atom) {
  LinearLayout held = layout(op);
  bool masksResult = op.restrictsResult();
  SharedTile a = operand(op.getA(), atom.element, op.getTransposeA(), masksResult ? tile::DotOp() : op);
  SharedTile b = operand(op.getB(), atom.element, !op.getTransposeB(), {});
  shared.beforeRead(a);
  shared.beforeRead(b);
  int64_t k = a.shape[1], size = a.elementBytes();
  // Where this thread's part of an operand begins.
  auto start = [&](const SharedTile &tile, const LinearLayout &layout, int64_t tileAxis, int64_t rowAxis) {
    ArrayRef<Value> lanes = threadPart(layout);
    Value row = arith::AddIOp::create(e.b, e.loc, lanes[rowAxis], warpPart(held, tileAxis));
    Value offset = arith::MulIOp::create(e.b, e.loc, row, i32(tile.rowStride * size));
    return arith::AddIOp::create(e.b, e.loc, offset, arith::MulIOp::create(e.b, e.loc, threadPart(layout)[1 - rowAxis], i32(size))).getResult();
  };
  Value startA = start(a, atom.a, 0, 0), startB = start(b, atom.b, 1, 1);
  int64_t each = atom.c.numRegisters(), count = held.numRegisters();
  Registers sums = op.getInit() ? Registers(registers(op.getInit())) : Registers(count, e.real(elementOf(op), 0.0));
  for (int64_t from = 0; from < k; from += atom.k) {
    DenseMap<int64_t, SmallVector<Value>> as, bs;
    for (int64_t first = 0; first < count; first += each) {
      Coordinates at = held.apply(first, 0, 0);
      auto &x = as[at[0]], &y = bs[at[1]];
      if (x.empty())
        x = fragment(a, atom.a, atom.run(), at[0], from, startA, false);
      if (y.empty())
        y = fragment(b, atom.b, atom.b.contiguous(0), at[1], from, startB, true);
      auto product = target.multiply(e, atom, as[at[0]], bs[at[1]], ArrayRef(sums).slice(first, each));
      llvm::copy(product, sums.begin() + first);
    }
  }
  if (masksResult && op.getPairs() != tile::Pairs::all)
    for (int64_t r = 0; r < count; ++r) {
      Value visible = isVisible(op.getPairs(), op.getLevel(), coordinate(held, r, 0), coordinate(held, r, 1));
      sums[r] = e.select(visible, sums[r], e.real(sums[r].getType(), 0.0));
    }
  define(op, sums);
}

/// Each thread sums for its own elements, in f32.
void Lowering::dotByElement(tile::DotOp op) {
  LinearLayout held = layout(op);
  bool masksResult = op.restrictsResult();
  Type type = elementOf(op);
  SharedTile a = operand(op.getA(), type, op.getTransposeA(), masksResult ? tile::DotOp() : op);
  SharedTile b = operand(op.getB(), type, op.getTransposeB(), {});
  shared.beforeRead(a);
  shared.beforeRead(b);
  int64_t k = a.shape[1], count = held.numRegisters(), size = a.elementBytes();
  Registers init = op.getInit() ? Registers(registers(op.getInit())) : Registers(count, e.real(type, 0.0));
  int64_t step = k % 4 == 0 ? 4 : 1;
  // Addresses by what a register adds along each axis: registers of one row share them.
  DenseMap<int64_t, Value> rows, columns;
  for (int64_t r = 0; r < count; ++r) {
    Coordinates at = held.apply(r, 0, 0);
    if (!rows.contains(at[0]))
      rows[at[0]] = arith::MulIOp::create(e.b, e.loc, coordinate(held, r, 0), i32(a.rowStride * size));
    if (!columns.contains(at[1]))
      columns[at[1]] = arith::MulIOp::create(e.b, e.loc, coordinate(held, r, 1), i32(size));
  }
  auto sums = e.loop(0, k, step, init, [&](Value index, ValueRange in) {
    Value from = arith::TruncIOp::create(e.b, e.loc, e.b.getI32Type(), index);
    Value along = arith::MulIOp::create(e.b, e.loc, from, i32(size)), down = arith::MulIOp::create(e.b, e.loc, from, i32(b.rowStride * size));
    Registers next(in);
    for (int64_t i = 0; i < step; ++i) {
      DenseMap<int64_t, Value> x, y;
      for (int64_t r = 0; r < count; ++r) {
        Coordinates at = held.apply(r, 0, 0);
        Value &left = x[at[0]], &right = y[at[1]];
        if (!left)
          left = e.load(shared.address(a, arith::AddIOp::create(e.b, e.loc, rows[at[0]], along), i * size), type, 1);
        if (!right)
          right = e.load(shared.address(b, arith::AddIOp::create(e.b, e.loc, columns[at[1]], down), i * b.rowStride * size), type, 1);
        next[r] = e.fma(x[at[0]], y[at[1]], next[r]);
      }
    }
    return SmallVector<Value>(next);
  });
  Registers list(sums);
  if (masksResult && op.getPairs() != tile::Pairs::all)
    for (int64_t r = 0; r < count; ++r) {
      Value visible = isVisible(op.getPairs(), op.getLevel(), coordinate(held, r, 0), coordinate(held, r, 1));
      list[r] = e.select(visible, list[r], e.real(type, 0.0));
    }
  define(op, list);
}

void Lowering::dot(tile::DotOp op) {
  auto result = cast<RankedTensorType>(op.getType());
  int64_t k = cast<RankedTensorType>(op.getA().getType()).getDimSize(op.getTransposeA() ? 0 : 1);
  std::optional<Atom> atom = target.atom(operands.element, operands.exact);
  bool fits = atom && result.getDimSize(0) >= atom->m && result.getDimSize(1) >= atom->n && k >= atom->k;
  fits ? dotWithAtoms(op, *atom) : dotByElement(op);
}

} // namespace fla::gpu
