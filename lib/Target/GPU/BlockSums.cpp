//===- BlockSums.cpp - sums over blocks of tokens -------------------------===//
#include "BlockSums.h"

namespace fla::gpu {

//===----------------------------------------------------------------------===//
// Bits of a token's number
//===----------------------------------------------------------------------===//

SmallVector<Lowering::TokenBit> Lowering::tokenBits(const LinearLayout &layout) {
  SmallVector<TokenBit> bits;
  for (int32_t step = 1; step < layout.shape()[0]; step *= 2) {
    auto find = [&](const tile::Bases &bases) {
      return llvm::find_if(bases, [&](const Coordinates &basis) { return basis[0] == step; }) - bases.begin();
    };
    const tile::Bases *all[] = {&layout.registerBases(), &layout.laneBases(), &layout.warpBases()};
    for (auto kind : {TokenBit::Register, TokenBit::Lane, TokenBit::Warp})
      if (int64_t at = find(*all[kind]); at < int64_t(all[kind]->size())) {
        bits.push_back({kind, at});
        break;
      }
  }
  assert(int64_t(1) << bits.size() == layout.shape()[0] && "expected layouts whose bits go along one axis each");
  return bits;
}

/// Whether the bit is set in the token of a register's element.
Value Lowering::isSet(const LinearLayout &layout, const TokenBit &bit, int64_t reg) {
  if (bit.kind == TokenBit::Register)
    return arith::ConstantOp::create(e.b, e.loc, e.b.getBoolAttr((reg >> bit.index) & 1));
  Value masked = arith::AndIOp::create(e.b, e.loc, bit.kind == TokenBit::Lane ? lane : warp, i32(int64_t(1) << bit.index));
  return e.cmp(arith::CmpIPredicate::ne, masked, i32(0));
}

/// What all warps hold, in shared memory; lanes that only differ in bits of `alike` share a place. Reads
/// element `number` (null ones do not count) of a warp.
std::function<Value(Value ofWarp, int64_t number)> Lowering::showToWarps(ArrayRef<Value> list, int64_t alike) {
  SmallVector<int32_t> numbers;
  int64_t places = 1;
  for (int64_t bit = 1; bit < target.chip.lanes; bit *= 2) {
    numbers.push_back(bit & alike ? 0 : places);
    places *= bit & alike ? 1 : 2;
  }
  SmallVector<Value> present = llvm::filter_to_vector(list, [](Value x) { return bool(x); });
  int64_t count = present.size();
  Type type = present.front().getType();
  SharedTile all = shared.allocate({warps, count * places}, type, {});
  Value place = bits(lane, numbers);
  auto at = [this, all, place, count, places](Value ofWarp, int64_t number) {
    Value index = arith::AddIOp::create(e.b, e.loc, arith::MulIOp::create(e.b, e.loc, ofWarp, i32(count * places)), place);
    return shared.address(all, arith::MulIOp::create(e.b, e.loc, index, i32(all.elementBytes())), number * places * all.elementBytes());
  };
  auto write = [&] {
    for (auto [number, x] : llvm::enumerate(present))
      e.store(x, at(warp, number));
  };
  shared.beforeWrite();
  if (alike)
    e.when(e.cmp(arith::CmpIPredicate::eq, arith::AndIOp::create(e.b, e.loc, lane, i32(alike)), i32(0)), write);
  else
    write();
  shared.beforeRead(all);
  return [this, at, type](Value ofWarp, int64_t number) { return e.load(at(ofWarp, number), type, 1); };
}

Registers Lowering::partners(const LinearLayout &held, const TokenBit &bit, ArrayRef<Value> list) {
  Registers result(list.size());
  if (llvm::none_of(list, [](Value x) { return bool(x); }))
    return result;
  int64_t mask = int64_t(1) << bit.index, number = 0;
  if (bit.kind == TokenBit::Warp) {
    auto read = showToWarps(list, 0);
    Value other = arith::XOrIOp::create(e.b, e.loc, warp, i32(mask));
    for (size_t r = 0; r < list.size(); ++r)
      result[r] = list[r] ? read(other, number++) : Value();
    return result;
  }
  for (size_t r = 0; r < list.size(); ++r)
    if (bit.kind == TokenBit::Register)
      result[r] = list[r ^ mask];
    else
      result[r] = list[r] ? target.shuffleXor(e, list[r], mask) : Value();
  return result;
}

//===----------------------------------------------------------------------===//
// Sums
//===----------------------------------------------------------------------===//

Lowering::BlockSums::BlockSums(Lowering &lowering, const LinearLayout &layout, ArrayRef<Value> list)
    : l(lowering), layout(layout), bits(lowering.tokenBits(layout)), totals(list) {}

int64_t Lowering::BlockSums::start(Side side, bool exclusive) {
  assert(done == 0 && "expected sums to begin before blocks grow");
  running.push_back({-1, {side, exclusive}, {side, exclusive}, exclusive ? Registers(totals.size()) : totals});
  return running.size() - 1;
}

int64_t Lowering::BlockSums::startByHalf(int64_t bit, Sum left, Sum right) {
  if (bit >= numBits()) // one left half
    return start(left.side, left.exclusive);
  assert(done == 0 && "expected sums to begin before blocks grow");
  Registers list(totals.size());
  for (size_t r = 0; r < list.size(); ++r) {
    if (left.exclusive && right.exclusive)
      continue;
    Value zero = l.e.real(totals[r].getType(), 0.0), set = l.isSet(layout, bits[bit], r);
    list[r] = l.e.select(set, right.exclusive ? zero : totals[r], left.exclusive ? zero : totals[r]);
  }
  running.push_back({bit, left, right, list});
  return running.size() - 1;
}

Registers Lowering::BlockSums::finish(int64_t number) {
  Registers list(running[number].list);
  for (Value &x : list)
    if (!x)
      x = l.e.real(totals[0].getType(), 0.0);
  return list;
}

std::optional<Side> Lowering::BlockSums::sideOf(const Running &sum, int64_t reg) {
  if (sum.left.side == sum.right.side)
    return sum.left.side;
  const TokenBit &half = bits[sum.halfOf];
  if (half.kind != TokenBit::Register)
    return std::nullopt;
  return (reg >> half.index) & 1 ? sum.right.side : sum.left.side;
}

void Lowering::BlockSums::add(Running &sum, int64_t reg, Value before, Value after) {
  Value &x = sum.list[reg];
  if (auto side = sideOf(sum, reg)) {
    x = plus(x, *side == Side::before ? before : after);
    return;
  }
  if (!before && !after)
    return;
  Value zero = l.e.real((before ? before : after).getType(), 0.0), set = l.isSet(layout, bits[sum.halfOf], reg);
  before = before ? before : zero, after = after ? after : zero;
  bool rightBefore = sum.right.side == Side::before;
  x = plus(x, l.e.select(set, rightBefore ? before : after, rightBefore ? after : before));
}

void Lowering::BlockSums::advance(int64_t to) {
  int64_t numBits = std::min<int64_t>(to, bits.size());
  while (done < numBits) {
    TokenBit::Kind kind = bits[done].kind;
    int64_t next = done + 1;
    while (kind != TokenBit::Lane && next < numBits && bits[next].kind == kind)
      ++next;
    switch (kind) {
    case TokenBit::Register:
      advanceInThread(done, next);
      break;
    case TokenBit::Lane:
      advanceAcrossLanes(done);
      break;
    case TokenBit::Warp:
      advanceAcrossWarps(done, next);
      break;
    }
    done = next;
  }
}

bool Lowering::BlockSums::isNeeded(Side side) const {
  return llvm::any_of(running, [&](const Running &sum) { return sum.left.side == side || sum.right.side == side; });
}

/// Blocks that a thread has all of: from first to last and back.
void Lowering::BlockSums::advanceInThread(int64_t from, int64_t to) {
  int64_t count = int64_t(1) << (to - from), mask = 0;
  auto spread = [&](int64_t block) { // the register bits of a block's number
    int64_t reg = 0;
    for (int64_t i = from; i < to; ++i)
      reg |= ((block >> (i - from)) & 1) << bits[i].index;
    return reg;
  };
  mask = spread(count - 1);
  Registers before(totals.size()), after(totals.size());
  for (int64_t first = 0; first < int64_t(totals.size()); ++first) {
    if ((first & mask) || (first & merged))
      continue;
    Value sum;
    if (isNeeded(Side::before) || !isNeeded(Side::after))
      for (int64_t block = 0; block < count; ++block) {
        before[first | spread(block)] = sum;
        sum = plus(sum, totals[first | spread(block)]);
      }
    Value back;
    if (isNeeded(Side::after))
      for (int64_t block = count - 1; block >= 0; --block) {
        after[first | spread(block)] = back;
        back = plus(back, totals[first | spread(block)]);
      }
    totals[first] = sum ? sum : back;
  }
  for (Running &sum : running)
    for (int64_t r = 0; r < int64_t(totals.size()); ++r)
      add(sum, r, before[r & ~merged], after[r & ~merged]);
  merged |= mask;
}

/// Blocks in two lanes.
void Lowering::BlockSums::advanceAcrossLanes(int64_t bit) {
  Registers own(totals.size());
  for (size_t r = 0; r < totals.size(); ++r)
    own[r] = r & merged ? Value() : totals[r];
  Registers others = l.partners(layout, bits[bit], own);
  Value zero = l.e.real(totals[0].getType(), 0.0), set = l.isSet(layout, bits[bit], 0);
  Registers before(totals.size()), after(totals.size());
  for (Running &sum : running)
    for (int64_t r = 0; r < int64_t(totals.size()); ++r) {
      int64_t first = r & ~merged;
      auto side = sideOf(sum, r);
      if (side != Side::after && !before[first])
        before[first] = l.e.select(set, others[first], zero);
      if (side != Side::before && !after[first])
        after[first] = l.e.select(set, zero, others[first]);
      add(sum, r, before[first], after[first]);
    }
  for (size_t r = 0; r < totals.size(); ++r)
    if (!(r & merged))
      totals[r] = l.e.addf(totals[r], others[r]);
}

/// Blocks in several warps: each reads the totals of all.
void Lowering::BlockSums::advanceAcrossWarps(int64_t from, int64_t to) {
  int64_t count = int64_t(1) << (to - from), mask = 0, alike = 0, number = 0;
  SmallVector<int32_t> numbers(llvm::Log2_64_Ceil(l.warps));
  for (int64_t i = from; i < to; ++i)
    numbers[bits[i].index] = 1 << (i - from), mask |= int64_t(1) << bits[i].index;
  for (const TokenBit &lower : ArrayRef(bits).take_front(from)) // lanes of one block have one total
    alike |= lower.kind == TokenBit::Lane ? int64_t(1) << lower.index : 0;
  Registers own(totals.size()), before(totals.size()), after(totals.size());
  for (size_t r = 0; r < totals.size(); ++r)
    own[r] = r & merged ? Value() : totals[r];
  auto read = l.showToWarps(own, alike);
  Value ownBlock = l.bits(l.warp, numbers), ownOthers = arith::AndIOp::create(l.e.b, l.e.loc, l.warp, l.i32(~mask));
  Value zero = l.e.real(totals[0].getType(), 0.0);
  SmallVector<Value> warpOf, isBefore, isAfter;
  for (int64_t block = 0; block < count; ++block) {
    int64_t warpBits = 0;
    for (int64_t i = from; i < to; ++i)
      warpBits |= ((block >> (i - from)) & 1) << bits[i].index;
    warpOf.push_back(arith::OrIOp::create(l.e.b, l.e.loc, ownOthers, l.i32(warpBits)));
    isBefore.push_back(l.e.cmp(arith::CmpIPredicate::ult, l.i32(block), ownBlock));
    isAfter.push_back(l.e.cmp(arith::CmpIPredicate::ugt, l.i32(block), ownBlock));
  }
  for (size_t r = 0; r < totals.size(); ++r) {
    if (r & merged)
      continue;
    Value sum;
    for (int64_t block = 0; block < count; ++block) {
      Value x = read(warpOf[block], number);
      sum = plus(sum, x);
      if (isNeeded(Side::before) && block + 1 < count)
        before[r] = plus(before[r], l.e.select(isBefore[block], x, zero));
      if (isNeeded(Side::after) && block > 0)
        after[r] = plus(after[r], l.e.select(isAfter[block], x, zero));
    }
    totals[r] = sum;
    ++number;
  }
  for (Running &sum : running)
    for (int64_t r = 0; r < int64_t(totals.size()); ++r)
      add(sum, r, before[r & ~merged], after[r & ~merged]);
}

} // namespace fla::gpu
