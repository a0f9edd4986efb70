//===- Segments.cpp - sums of gates between two tokens --------------------===//
//
// A pair (t, s) with s < t is on level k, the highest bit in which t and s differ:
// in a block of 2^(k+1) tokens, s is left of the middle and t right of it. So the sum over
// s+1..t is L[k,s] + L[k,t], with
//
//   L[k,x] = the sum from x's block's middle to x     where bit k of x is set,
//            the sum from x+1 to the middle           where it is not:
//
// log2(tokens) numbers a token, in shared memory, and one addition for each pair.
//
//===----------------------------------------------------------------------===//
#include "BlockSums.h"

#include <limits>

namespace fla::gpu {

/// L, level by level, for x = t and for x = s: what suits the reads of one may not suit those of the other, so that
/// two copies with paddings of their own are made where one has conflicts.
std::array<SharedTile, 2> Lowering::sumsToMiddles(Value gate, bool pre, const std::array<WarpAccesses, 2> &reads) {
  LinearLayout held = layout(gate);
  SmallVector<TokenBit> bits = tokenBits(held);
  BlockSums sums(*this, held, registers(gate));
  int64_t right = sums.start(Side::before, /*exclusive=*/pre), left = sums.start(Side::after, /*exclusive=*/true);
  SmallVector<Registers> levels;
  for (int64_t k = 0; k < int64_t(bits.size()); ++k) {
    sums.advance(k);
    Registers list = sums.finish(left), fromMiddle = sums.finish(right);
    for (int64_t r = 0; r < held.numRegisters(); ++r)
      list[r] = e.select(isSet(held, bits[k], r), fromMiddle[r], list[r]);
    levels.push_back(list);
  }
  SmallVector<int64_t> shape{std::max<int64_t>(1, levels.size()), held.shape()[0]};
  int64_t size = Emitter::bytes(elementOf(gate)), copies = held.copies().reg;
  WarpAccesses both = reads[0];
  both.append(reads[1]);
  Padding common = both.choosePadding(shape, size);
  bool one = both.waysWith(shape, size, common) <= 2;
  std::array<SharedTile, 2> tables;
  for (int64_t i : {0, 1})
    tables[i] = one && i ? tables[0] : shared.allocate(shape, elementOf(gate), one ? common : reads[i].choosePadding(shape, size));
  shared.beforeWrite();
  once(held, [&] {
    for (const SharedTile &table : ArrayRef(tables).take_front(one ? 1 : 2))
      for (auto [k, list] : llvm::enumerate(levels))
        for (int64_t r = 0; r < held.numRegisters(); ++r)
          if (!(r & copies)) {
            Value offset = arith::MulIOp::create(e.b, e.loc, coordinate(held, r, 0), i32(size));
            e.store(list[r], shared.address(table, offset, k * table.rowStride() * size));
          }
  });
  return tables;
}

/// What the threads add to a coordinate, all bits that any of them sets.
static int32_t threadBits(const LinearLayout &layout, int64_t axis) {
  int32_t all = 0;
  for (const tile::Bases *bases : {&layout.laneBases(), &layout.warpBases()})
    for (const Coordinates &basis : *bases)
      all |= basis[axis];
  return all;
}

/// The byte where the level of pair (t, s) begins in a table with rows of `row` bytes.
Value Lowering::levelOf(const LinearLayout &held, int64_t reg, Value t, Value s, int64_t row) {
  // The same level in all threads, if the highest bit that differs is the register's.
  Coordinates at = held.apply(reg, 0, 0);
  int32_t threads = threadBits(held, 0) | threadBits(held, 1), differ = at[0] ^ at[1];
  if (differ > threads)
    return i32(llvm::Log2_32(differ) * row);
  Value bits = arith::OrIOp::create(e.b, e.loc, arith::XOrIOp::create(e.b, e.loc, t, s), i32(1));
  Value zeros = math::CountLeadingZerosOp::create(e.b, e.loc, bits);
  return arith::SubIOp::create(e.b, e.loc, i32(31 * row), arith::MulIOp::create(e.b, e.loc, zeros, i32(row)));
}

void Lowering::segsum(tile::SegSumOp op) {
  LinearLayout held = layout(op);
  Type type = elementOf(op);
  auto isBefore = [&](int64_t r) { // t before s in all threads
    Coordinates at = held.apply(r, 0, 0);
    return (at[0] | threadBits(held, 0)) < (at[1] & ~threadBits(held, 1));
  };
  std::array<WarpAccesses, 2> reads; // of L[k,t], of L[k,s]
  for (int64_t r = 0; r < held.numRegisters(); ++r)
    for (int64_t warp = 0; warp < held.numWarps() && !isBefore(r); ++warp)
      for (int64_t axis : {0, 1})
        reads[axis].addRegister(held, r, warp, Emitter::bytes(type), /*once=*/false,
                                [&](const Coordinates &at) { return Coordinates{int32_t(llvm::Log2_32((at[0] ^ at[1]) | 1)), at[axis]}; });
  std::array<SharedTile, 2> tables = sumsToMiddles(op.getGate(), op.getPre(), reads);
  for (const SharedTile &table : tables)
    shared.beforeRead(table);
  int64_t size = Emitter::bytes(type);
  Value invisible = e.real(type, -std::numeric_limits<double>::infinity());
  Value diagonal = op.getPre() || op.getStrict() ? invisible : e.real(type, 0.0);
  Registers list;
  for (int64_t r = 0; r < held.numRegisters(); ++r) {
    if (isBefore(r)) {
      list.push_back(invisible);
      continue;
    }
    Coordinates at = held.apply(r, 0, 0);
    Value t = coordinate(held, r, 0), s = coordinate(held, r, 1);
    auto toMiddle = [&](const SharedTile &table, Value x) {
      Value level = levelOf(held, r, t, s, table.rowStride() * size);
      Value offset = arith::AddIOp::create(e.b, e.loc, level, arith::MulIOp::create(e.b, e.loc, x, i32(size)));
      return e.load(shared.address(table, offset, 0), type, 1);
    };
    Value sum = held.shape()[0] > 1 ? e.addf(toMiddle(tables[0], t), toMiddle(tables[1], s)) : diagonal;
    if ((at[0] & ~threadBits(held, 0)) <= (at[1] | threadBits(held, 1))) {
      Value beyond = e.select(e.cmp(arith::CmpIPredicate::eq, t, s), diagonal, invisible);
      sum = e.select(e.cmp(arith::CmpIPredicate::sgt, t, s), sum, beyond);
    }
    list.push_back(sum);
  }
  define(op, list);
}

//===----------------------------------------------------------------------===//
// Reverse mode
//===----------------------------------------------------------------------===//

/// dL: of each token and level the sum of what its pairs hold. Token x meets x ^ i for i = 1, 2, ...; that pair's
/// level is the highest bit of i. Threads share the i of one token in runs of `run`: the first one has
/// several levels, the others one each.
SharedTile Lowering::sumsOfPairs(const SharedTile &pairs) {
  int64_t tokens = pairs.shape[0], threads = warps * target.chip.lanes, size = pairs.elementBytes();
  int64_t parts = std::max<int64_t>(1, threads / tokens), run = std::max<int64_t>(1, tokens / parts), runBits = llvm::Log2_64(run);
  parts = tokens / run;
  SharedTile sums = shared.allocate({runBits + parts, tokens}, pairs.element, {4});
  shared.beforeRead(pairs);
  auto i32Add = [&](Value x, Value y) { return arith::AddIOp::create(e.b, e.loc, x, y).getResult(); };
  auto times = [&](Value x, int64_t y) { return arith::MulIOp::create(e.b, e.loc, x, i32(y)).getResult(); };
  Value part = arith::ShRUIOp::create(e.b, e.loc, thread, i32(llvm::Log2_64(tokens)));
  for (int64_t first = 0; first < tokens; first += threads) {
    Value x = i32Add(arith::AndIOp::create(e.b, e.loc, thread, i32(tokens - 1)), i32(first));
    Value start = arith::XOrIOp::create(e.b, e.loc, x, times(part, run));
    auto pair = [&](int64_t i) {
      Value y = i ? arith::XOrIOp::create(e.b, e.loc, start, i32(i)).getResult() : start;
      Value t = arith::MaxUIOp::create(e.b, e.loc, x, y), s = arith::MinUIOp::create(e.b, e.loc, x, y);
      return e.load(shared.address(pairs, i32Add(times(t, pairs.rowStride() * size), times(s, size)), 0), pairs.element, 1);
    };
    auto write = [&](Value sum, Value row) { e.store(sum, shared.address(sums, i32Add(times(row, sums.rowStride() * size), times(x, size)), 0)); };
    auto work = [&] {
      Value total = pair(0);
      SmallVector<Value> levels;
      for (int64_t k = 0; k < runBits; ++k) {
        Value sum;
        for (int64_t i = int64_t(1) << k; i < int64_t(2) << k; ++i)
          sum = sum ? e.addf(sum, pair(i)) : pair(i);
        levels.push_back(sum);
        total = e.addf(total, sum);
      }
      e.when(
          e.cmp(arith::CmpIPredicate::eq, part, i32(0)),
          [&] {
            for (auto [k, sum] : llvm::enumerate(levels))
              write(sum, i32(k));
          },
          [&] { write(total, i32Add(part, i32(runBits - 1))); });
    };
    shared.wroteUnread();
    parts *tokens < threads ? e.when(e.cmp(arith::CmpIPredicate::ult, part, i32(parts)), work) : work();
  }
  return sums;
}

/// The reverse of `sumsToMiddles`, step by step.
void Lowering::segsumGrad(tile::SegSumGradOp op) {
  LinearLayout held = layout(op);
  Type type = elementOf(op);
  SmallVector<TokenBit> bits = tokenBits(held);
  int64_t numBits = bits.size(), size = Emitter::bytes(type);
  SharedTile sums = sumsOfPairs(stagePadded(registers(op.getValue()), layout(op.getValue()), type, {16}));
  shared.beforeRead(sums);
  int64_t parts = sums.shape[0], runBits = 0;
  while ((int64_t(1) << (numBits - runBits)) > parts - runBits)
    ++runBits;
  auto ofLevel = [&](int64_t k, Value x) {
    int64_t first = k < runBits ? k : runBits - 1 + (int64_t(1) << (k - runBits)), count = k < runBits ? 1 : int64_t(1) << (k - runBits);
    Value sum;
    for (int64_t row = first; row < first + count; ++row) {
      Value part = e.load(shared.address(sums, arith::MulIOp::create(e.b, e.loc, x, i32(size)), row * sums.rowStride() * size), type, 1);
      sum = sum ? e.addf(sum, part) : part;
    }
    return sum;
  };
  auto plus = [&](Value x, Value y) { return !x ? y : !y ? x : e.addf(x, y); };
  // Gradients of a token's sums in its block: of what is before it, of what is after, of all.
  Registers before(held.numRegisters()), after(before), total(before), others(before);
  Value zero = e.real(type, 0.0);
  for (int64_t k = numBits - 1; k >= 0; --k) {
    for (int64_t r = 0; r < held.numRegisters(); ++r) {
      Value set = isSet(held, bits[k], r), own = ofLevel(k, coordinate(held, r, 0));
      Value side = before[r] ? e.select(set, before[r], after[r]) : Value();
      others[r] = plus(total[r], side);
      before[r] = plus(before[r], e.select(set, own, zero));
      after[r] = plus(after[r], e.select(set, zero, own));
    }
    others = partners(held, bits[k], others);
    for (int64_t r = 0; r < held.numRegisters(); ++r)
      total[r] = plus(total[r], others[r]);
  }
  for (int64_t r = 0; r < held.numRegisters(); ++r) {
    Value sum = op.getPre() ? total[r] : plus(total[r], before[r]);
    total[r] = sum ? sum : zero;
  }
  define(op, total);
}

} // namespace fla::gpu
