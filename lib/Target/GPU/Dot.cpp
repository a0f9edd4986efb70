//===- Dot.cpp - products of tiles ----------------------------------------===//
//
// A result is held as the accumulators of atoms, or as their transposes. An operand
// whose registers are an atom's fragments is used where it is; others are read from
// shared memory in their storage type: 8x8 matrices at once where the target loads
// them, else neighbours along the sum. What a thread reads and where the sums go is
// in the layouts of the atom alone.
//
//===----------------------------------------------------------------------===//
#include "Lowering.h"

namespace fla::gpu {

/// Whether pair (token, past) counts.
Value Lowering::isVisible(tile::Pairs pairs, int64_t level, Value token, Value past) {
  using P = arith::CmpIPredicate;
  switch (pairs) {
  case tile::Pairs::all:
    break;
  case tile::Pairs::causal:
    return e.cmp(P::sle, past, token);
  case tile::Pairs::strict:
    return e.cmp(P::slt, past, token);
  case tile::Pairs::diagonal:
    return e.cmp(P::eq, past, token);
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

namespace {
struct Range {
  int64_t first, last;
  bool meets(int64_t from, int64_t to) const { return first <= to && from <= last; }
};
} // namespace

/// Whether some pair of these tokens counts.
static bool anyVisible(tile::Pairs pairs, int64_t level, Range token, Range past) {
  switch (pairs) {
  case tile::Pairs::all:
    return true;
  case tile::Pairs::causal:
    return past.first <= token.last;
  case tile::Pairs::strict:
    return past.first < token.last;
  case tile::Pairs::diagonal:
    return past.meets(token.first, token.last);
  case tile::Pairs::level:
    for (int64_t block = past.first / (2 * level) * (2 * level); block <= past.last; block += 2 * level)
      if (past.meets(block, block + level - 1) && token.meets(block + level, block + 2 * level - 1))
        return true;
    return false;
  }
  return true;
}

/// Whether a step of `depth` of the sum, from `from` on, adds anything to the atom that begins at a
/// register of the result, in any warp. `size` is the atom's along the result's axes.
static bool addsAnything(tile::DotOp op, const LinearLayout &held, int64_t reg, ArrayRef<int64_t> size, int64_t from, int64_t depth) {
  if (op.getPairs() == tile::Pairs::all)
    return true;
  for (int64_t warp = 0; warp < held.numWarps(); ++warp) {
    Coordinates at = held.apply(reg, 0, warp);
    Range rows{at[0], at[0] + size[0] - 1}, columns{at[1], at[1] + size[1] - 1}, sum{from, from + depth - 1};
    Range token = op.restrictsResult() || !op.getTransposeA() ? rows : sum;
    Range past = op.restrictsResult() ? columns : op.getTransposeA() ? rows : sum;
    if (anyVisible(op.getPairs(), op.getLevel(), token, past))
      return true;
  }
  return false;
}

/// A product's operand in shared memory; a restricted A (given `masked`) without its invisible entries;
/// with `rounded` as atoms that cut take it.
SharedTile Lowering::operand(Value value, Type element, bool transposed, tile::DotOp masked, const WarpAccesses &reads, bool rounded) {
  bool restricted = masked && masked.getPairs() != tile::Pairs::all;
  int64_t form = transposed | (static_cast<int64_t>(rounded) << 32) |
                 (restricted ? (static_cast<int64_t>(masked.getPairs()) << 1) | (masked.getLevel() << 8) : 0);
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
  if (rounded)
    for (Value &x : list)
      x = target.rounded(e, x);
  return staged[key] = stage(list, held, element, reads, transposed);
}

//===----------------------------------------------------------------------===//
// Operands of atoms
//===----------------------------------------------------------------------===//

/// One operand of a product of atoms. A fragment lies along the result with its axis
/// `kept`, the tile with its axis `axis`; each along the sum with the other one.
struct Lowering::Operand {
  LinearLayout atom; ///< a fragment: m x k or k x n
  int64_t kept = 0;  ///< 0 of a left operand, 1 of a right one
  Type element;
  Value value;
  int64_t axis = 0;
  bool toRound = false; ///< each fragment, when it is read
  // In registers, if they hold what the atoms take: the tile's register of each fragment's.
  std::optional<LinearLayout> fragments;
  SmallVector<int64_t> source;
  // Else in shared memory.
  SharedTile tile;
  bool swapped = false; ///< the tile's axes are swapped there
  Value start;          ///< byte where this thread's part begins, but for what `rows` needs
  Value warpStart;      ///< the part of it that the warp adds

  int64_t strideAlong(int64_t tileAxis) const { return tile.stride(swapped ? 1 - tileAxis : tileAxis) * tile.elementBytes(); }
  int64_t strideKept() const { return strideAlong(axis); }
  int64_t strideSummed() const { return strideAlong(1 - axis); }
  /// Neighbours along the sum that registers hold next to each other.
  int64_t run() const { return atom.contiguous(1 - kept); }
};

/// How all fragments of a result held as `held` (its axis `along`) lie in registers.
static LinearLayout layoutOfFragments(ArrayRef<int64_t> shape, int64_t axis, const LinearLayout &atom, int64_t kept, const LinearLayout &held,
                                      int64_t along) {
  auto place = [&](int32_t onKept, int32_t onSummed) {
    Coordinates at(2, 0);
    at[axis] = onKept, at[1 - axis] = onSummed;
    return at;
  };
  auto placeAll = [&](const tile::Bases &bases) {
    tile::Bases placed;
    for (const Coordinates &basis : bases)
      placed.push_back(place(basis[kept], basis[1 - kept]));
    return placed;
  };
  tile::Bases registers = placeAll(atom.registerBases()), warps;
  for (const Coordinates &basis : held.registerBases())
    if (basis[along] >= atom.shape()[kept])
      registers.push_back(place(basis[along], 0));
  for (int64_t step = atom.shape()[1 - kept]; step < shape[1 - axis]; step *= 2)
    registers.push_back(place(0, step));
  for (const Coordinates &basis : held.warpBases())
    warps.push_back(place(basis[along], 0));
  return LinearLayout(shape, registers, placeAll(atom.laneBases()), warps);
}

bool isMadeOfMatrices(const LinearLayout &layout, int64_t kept) {
  auto is = [&](const Coordinates &basis, int32_t onKept, int32_t onOther) { return basis[kept] == onKept && basis[1 - kept] == onOther; };
  const tile::Bases &lanes = layout.laneBases(), &registers = layout.registerBases();
  if (layout.rank() != 2 || lanes.size() != 5 || registers.empty())
    return false;
  bool matrices = llvm::all_of(ArrayRef(registers).drop_front(), [](const Coordinates &basis) { return basis[0] % 8 == 0 && basis[1] % 8 == 0; });
  return matrices && is(registers[0], 0, 1) && is(lanes[0], 0, 2) && is(lanes[1], 0, 4) && is(lanes[2], 1, 0) && is(lanes[3], 2, 0) &&
         is(lanes[4], 4, 0);
}

/// How fragments are read from shared memory; others may read the same tile in another orientation.
WarpAccesses Lowering::readsOf(const Operand &x) {
  WarpAccesses reads;
  int64_t run = x.run(), size = Emitter::bytes(x.element);
  if (target.loadsMatrices(x.element) && isMadeOfMatrices(x.atom, x.kept)) {
    reads.addMatrices();
    return reads;
  }
  bool together = x.swapped ? x.axis == 1 : x.axis == 0; // the sum goes along rows in memory
  reads.add(x.atom, run, together ? run * size : size, /*once=*/false,
            [&](const Coordinates &at) { return together ? Coordinates{at[x.kept], at[1 - x.kept]} : Coordinates{at[1 - x.kept], at[x.kept]}; });
  return reads;
}

Lowering::Operand Lowering::operandOf(tile::DotOp op, const Atom &atom, bool left, bool swapped) {
  LinearLayout held = layout(op);
  int64_t along = left == swapped ? 1 : 0; // the result's axis
  Operand x;
  x.atom = left ? atom.a : atom.b;
  x.kept = left ? 0 : 1;
  x.element = atom.element;
  x.toRound = atom.cuts;
  x.value = along == 0 ? op.getA() : op.getB();
  x.axis = along == 0 ? (op.getTransposeA() ? 1 : 0) : (op.getTransposeB() ? 0 : 1);
  tile::DotOp masked = along == 0 && !op.restrictsResult() && op.getPairs() != tile::Pairs::all ? op : tile::DotOp();
  LinearLayout own = layout(x.value);
  if (!masked && values.contains(x.value)) {
    LinearLayout fragments = layoutOfFragments(own.shape(), x.axis, x.atom, x.kept, held, along);
    tile::Conversion plan = tile::planConversion(own, fragments);
    if (plan.kind == tile::ConversionKind::identity || plan.kind == tile::ConversionKind::registers) {
      x.fragments = fragments;
      x.source = plan.source;
      return x;
    }
  }
  auto it = copied.find(x.value);
  if (!masked && it != copied.end() && it->second.element == x.element) {
    x.tile = it->second;
  } else {
    // With loads of whole matrices either axis may come last: as registers neighbour.
    bool either = target.loadsMatrices(x.element) && isMadeOfMatrices(x.atom, x.kept);
    x.swapped = either ? own.contiguous(1) == 1 && own.contiguous(0) > 1 : x.axis == 1;
    x.tile = operand(x.value, x.element, x.swapped, masked, readsOf(x), /*rounded=*/atom.cuts);
    x.toRound = false;
  }
  x.warpStart = arith::MulIOp::create(e.b, e.loc, warpPart(held, along), i32(x.strideKept()));
  ArrayRef<Value> thread = threadPart(x.atom);
  Value lanes = arith::AddIOp::create(e.b, e.loc, arith::MulIOp::create(e.b, e.loc, thread[x.kept], i32(x.strideKept())),
                                      arith::MulIOp::create(e.b, e.loc, thread[1 - x.kept], i32(x.strideSummed())));
  x.start = arith::AddIOp::create(e.b, e.loc, lanes, x.warpStart);
  return x;
}

/// The fragment whose registers begin at `onKept` and `onSummed`, from the tile's registers.
SmallVector<Value> Lowering::fragmentInRegisters(const Operand &x, int64_t onKept, int64_t onSummed) {
  const LinearLayout &all = *x.fragments;
  int64_t each = x.atom.numRegisters(), first = 0;
  for (auto [bit, basis] : llvm::enumerate(all.registerBases()))
    if (int64_t(1) << bit >= each && ((basis[x.axis] & onKept) || (basis[1 - x.axis] & onSummed)))
      first |= int64_t(1) << bit;
  ArrayRef<Value> list = registers(x.value);
  int64_t run = x.run();
  SmallVector<Value> pieces;
  for (int64_t r = 0; r < each; r += run) {
    Type type = list[0].getType();
    Value piece = run > 1 ? LLVM::UndefOp::create(e.b, e.loc, Emitter::vec(type, run)).getResult() : list[x.source[first + r]];
    for (int64_t i = 0; i < run && run > 1; ++i)
      piece = LLVM::InsertElementOp::create(e.b, e.loc, piece, list[x.source[first + r + i]], i32(i));
    if (type != x.element)
      piece = arith::TruncFOp::create(e.b, e.loc, Emitter::vec(x.element, run), piece);
    pieces.push_back(piece);
  }
  return pieces;
}

/// The same from shared memory, in accesses of neighbours along the sum where they are neighbours there.
SmallVector<Value> Lowering::fragmentInMemory(const Operand &x, int64_t onKept, int64_t onSummed) {
  int64_t run = x.run(), size = x.tile.elementBytes();
  // Neighbours in memory are loaded together, as many as rows are aligned to.
  int64_t part = x.strideSummed() == size ? std::min(run, std::max<int64_t>(1, x.tile.alignment() / size)) : 1;
  SmallVector<Value> pieces;
  for (int64_t r = 0; r < x.atom.numRegisters(); r += run) {
    Coordinates at = x.atom.apply(r, 0, 0);
    int64_t offset = (onKept + at[x.kept]) * x.strideKept() + (onSummed + at[1 - x.kept]) * x.strideSummed();
    auto load = [&](int64_t from) -> Value {
      Value address = shared.address(x.tile, x.start, offset + from * x.strideSummed());
      return LLVM::LoadOp::create(e.b, e.loc, Emitter::vec(x.element, part), address, part * size);
    };
    if (part == run) {
      pieces.push_back(load(0));
      continue;
    }
    Value piece = LLVM::UndefOp::create(e.b, e.loc, Emitter::vec(x.element, run));
    for (int64_t from = 0; from < run; from += part) {
      Value loaded = load(from);
      for (int64_t i = 0; i < part; ++i) {
        Value one = part > 1 ? LLVM::ExtractElementOp::create(e.b, e.loc, loaded, i32(i)).getResult() : loaded;
        piece = LLVM::InsertElementOp::create(e.b, e.loc, piece, one, i32(from + i));
      }
    }
    pieces.push_back(piece);
  }
  return pieces;
}

/// Lanes 0-7 address the rows of the first matrix, 8-15 those of the second, 16-23 of the third, 24-31 of the fourth.
void Lowering::forMatrices(const SharedTile &tile, Value start, int64_t rowStride, ArrayRef<int64_t> offsets,
                           llvm::function_ref<void(Value, size_t, int64_t)> f) {
  auto bit = [&](int64_t number) { return arith::AndIOp::create(e.b, e.loc, arith::ShRUIOp::create(e.b, e.loc, lane, i32(number)), i32(1)); };
  Value row = arith::MulIOp::create(e.b, e.loc, arith::AndIOp::create(e.b, e.loc, lane, i32(7)), i32(rowStride));
  Value base = arith::AddIOp::create(e.b, e.loc, start, row);
  for (size_t first = 0; first < offsets.size();) {
    ArrayRef<int64_t> rest = offsets.drop_front(first);
    int64_t one = rest.size() > 1 ? rest[1] - rest[0] : 0, two = rest.size() > 3 ? rest[2] - rest[0] : 0;
    int64_t count = rest.size() > 3 && rest[3] == rest[0] + one + two ? 4 : rest.size() > 1 ? 2 : 1;
    Value at = base;
    if (count > 1)
      at = arith::AddIOp::create(e.b, e.loc, at, arith::MulIOp::create(e.b, e.loc, bit(3), i32(one)));
    if (count > 2)
      at = arith::AddIOp::create(e.b, e.loc, at, arith::MulIOp::create(e.b, e.loc, bit(4), i32(two)));
    f(shared.address(tile, at, rest[0]), first, count);
    first += count;
  }
}

/// 8x8 matrices, each one's two elements of this thread as an i32.
SmallVector<Value> Lowering::loadMatrices(const SharedTile &from, Value start, int64_t rowStride, ArrayRef<int64_t> offsets, bool transposed) {
  SmallVector<Value> all;
  forMatrices(from, start, rowStride, offsets,
              [&](Value address, size_t, int64_t count) { all.append(target.loadMatrices(e, address, count, transposed)); });
  return all;
}

/// Fragments at several places along the result.
void Lowering::loadFragments(const Operand &x, ArrayRef<int64_t> onKept, int64_t onSummed, MutableArrayRef<SmallVector<Value>> fragments) {
  SmallVector<int64_t> offsets;
  for (int64_t place : onKept)
    for (int64_t r = 0; r < x.atom.numRegisters(); r += x.run()) {
      Coordinates at = x.atom.apply(r, 0, 0);
      offsets.push_back((place + at[x.kept]) * x.strideKept() + (onSummed + at[1 - x.kept]) * x.strideSummed());
    }
  bool transposed = x.strideSummed() != x.tile.elementBytes();
  auto loaded = loadMatrices(x.tile, x.warpStart, transposed ? x.strideSummed() : x.strideKept(), offsets, transposed);
  int64_t pieces = x.atom.numRegisters() / x.run();
  for (auto [i, matrix] : llvm::enumerate(loaded))
    fragments[i / pieces].push_back(LLVM::BitcastOp::create(e.b, e.loc, Emitter::vec(x.element, 2), matrix));
}

/// The fragments at all places along the result that a step of the sum needs.
DenseMap<int64_t, SmallVector<Value>> Lowering::fragmentsAt(const Operand &x, ArrayRef<int64_t> onKept, int64_t onSummed) {
  SmallVector<SmallVector<Value>> fragments(onKept.size());
  if (!x.fragments && target.loadsMatrices(x.element) && isMadeOfMatrices(x.atom, x.kept))
    loadFragments(x, onKept, onSummed, fragments);
  else
    for (auto [place, fragment] : llvm::zip_equal(onKept, fragments))
      fragment = x.fragments ? fragmentInRegisters(x, place, onSummed) : fragmentInMemory(x, place, onSummed);
  if (x.toRound)
    for (SmallVector<Value> &fragment : fragments)
      for (Value &piece : fragment)
        piece = target.rounded(e, piece);
  DenseMap<int64_t, SmallVector<Value>> byPlace;
  for (auto [place, fragment] : llvm::zip_equal(onKept, fragments))
    byPlace[place] = fragment;
  return byPlace;
}

/// With `swapped` the atoms compute the transpose: their rows are the result's columns.
void Lowering::dotWithAtoms(tile::DotOp op, const Atom &atom, bool swapped) {
  LinearLayout held = layout(op);
  bool masksResult = op.restrictsResult();
  Operand left = operandOf(op, atom, /*left=*/true, swapped), right = operandOf(op, atom, /*left=*/false, swapped);
  for (const Operand *x : {&left, &right}) // when both are there: neither may take the other's place
    if (!x->fragments)
      shared.beforeRead(x->tile);
  int64_t k = cast<RankedTensorType>(op.getA().getType()).getDimSize(op.getTransposeA() ? 0 : 1);
  int64_t each = atom.c.numRegisters(), count = held.numRegisters(), rows = swapped ? 1 : 0;
  SmallVector<int64_t> size{swapped ? atom.n : atom.m, swapped ? atom.m : atom.n};
  Registers sums = op.getInit() ? Registers(registers(op.getInit())) : Registers(count, e.real(elementOf(op), 0.0));
  for (int64_t from = 0; from < k; from += atom.k) {
    SmallVector<int64_t> firsts, onRows, onColumns; // atoms that this step adds to, and where they are
    for (int64_t first = 0; first < count; first += each) {
      if (!addsAnything(op, held, first, size, from, atom.k))
        continue;
      firsts.push_back(first);
      Coordinates at = held.apply(first, 0, 0);
      if (!llvm::is_contained(onRows, at[rows]))
        onRows.push_back(at[rows]);
      if (!llvm::is_contained(onColumns, at[1 - rows]))
        onColumns.push_back(at[1 - rows]);
    }
    auto as = fragmentsAt(left, onRows, from), bs = fragmentsAt(right, onColumns, from);
    for (int64_t first : firsts) {
      Coordinates at = held.apply(first, 0, 0);
      auto product = target.multiply(e, atom, as[at[rows]], bs[at[1 - rows]], ArrayRef(sums).slice(first, each));
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
  WarpAccesses readsA = gathers(held, type, [](const Coordinates &at) { return Coordinates{at[0], 0}; });
  WarpAccesses readsB = gathers(held, type, [](const Coordinates &at) { return Coordinates{0, at[1]}; });
  SharedTile a = operand(op.getA(), type, op.getTransposeA(), masksResult ? tile::DotOp() : op, readsA);
  SharedTile b = operand(op.getB(), type, op.getTransposeB(), {}, readsB);
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
      rows[at[0]] = arith::MulIOp::create(e.b, e.loc, coordinate(held, r, 0), i32(a.rowStride() * size));
    if (!columns.contains(at[1]))
      columns[at[1]] = arith::MulIOp::create(e.b, e.loc, coordinate(held, r, 1), i32(size));
  }
  auto sums = e.loop(0, k, step, init, [&](Value index, ValueRange in) {
    Value from = arith::TruncIOp::create(e.b, e.loc, e.b.getI32Type(), index);
    Value along = arith::MulIOp::create(e.b, e.loc, from, i32(size)), down = arith::MulIOp::create(e.b, e.loc, from, i32(b.rowStride() * size));
    Registers next(in);
    for (int64_t i = 0; i < step; ++i) {
      DenseMap<int64_t, Value> x, y;
      for (int64_t r = 0; r < count; ++r) {
        Coordinates at = held.apply(r, 0, 0);
        Value &left = x[at[0]], &right = y[at[1]];
        if (!left)
          left = e.load(shared.address(a, arith::AddIOp::create(e.b, e.loc, rows[at[0]], along), i * size), type, 1);
        if (!right)
          right = e.load(shared.address(b, arith::AddIOp::create(e.b, e.loc, columns[at[1]], down), i * b.rowStride() * size), type, 1);
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

/// Whether atoms compute a product (false) or its transpose (true), as its layout says; none: neither.
std::optional<bool> Lowering::atomOrientation(tile::DotOp op) {
  int64_t k = cast<RankedTensorType>(op.getA().getType()).getDimSize(op.getTransposeA() ? 0 : 1);
  std::optional<Atom> atom = target.atom(operands.element, operands.exact);
  if (!atom || k < atom->k)
    return std::nullopt;
  LinearLayout held = layout(op);
  auto isTiledBy = [&](const LinearLayout &one) {
    bool fits = held.shape()[0] >= one.shape()[0] && held.shape()[1] >= one.shape()[1];
    size_t bits = one.registerBases().size();
    return fits && held.laneBases() == one.laneBases() && held.registerBases().size() >= bits &&
           ArrayRef(held.registerBases()).take_front(bits) == ArrayRef(one.registerBases());
  };
  if (isTiledBy(atom->c))
    return false;
  return isTiledBy(atom->c.transpose({1, 0})) ? std::optional(true) : std::nullopt;
}

void Lowering::dot(tile::DotOp op) {
  std::optional<bool> swapped = atomOrientation(op);
  swapped ? dotWithAtoms(op, *target.atom(operands.element, operands.exact), *swapped) : dotByElement(op);
}

} // namespace fla::gpu
