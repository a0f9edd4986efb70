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

Registers Lowering::partners(const LinearLayout &held, const TokenBit &bit, ArrayRef<Value> list, int64_t alike) {
  Registers result(list.size());
  auto present = llvm::find_if(list, [](Value x) { return bool(x); });
  if (present == list.end())
    return result;
  if (bit.kind == TokenBit::Warp)
    return partnersInOtherWarp(int64_t(1) << bit.index, list, (*present).getType(), alike);
  int64_t mask = int64_t(1) << bit.index;
  for (size_t r = 0; r < list.size(); ++r)
    if (bit.kind == TokenBit::Register)
      result[r] = list[r ^ mask];
    else
      result[r] = list[r] ? target.shuffleXor(e, list[r], mask) : Value();
  return result;
}

/// Through shared memory; lanes that only differ in bits of `alike` share a place.
Registers Lowering::partnersInOtherWarp(int64_t mask, ArrayRef<Value> list, Type type, int64_t alike) {
  SmallVector<int32_t> numbers;
  int64_t places = 1;
  for (int64_t bit = 1; bit < target.chip.lanes; bit *= 2) {
    numbers.push_back(bit & alike ? 0 : places);
    places *= bit & alike ? 1 : 2;
  }
  int64_t count = llvm::count_if(list, [](Value x) { return bool(x); });
  SharedTile all = shared.allocate({warps, count * places}, type, 0);
  Value place = bits(lane, numbers);
  auto at = [&](Value ofWarp, int64_t number) {
    Value index = arith::AddIOp::create(e.b, e.loc, arith::MulIOp::create(e.b, e.loc, ofWarp, i32(count * places)), place);
    return shared.address(all, arith::MulIOp::create(e.b, e.loc, index, i32(all.elementBytes())), number * places * all.elementBytes());
  };
  auto write = [&] {
    int64_t number = 0;
    for (Value x : list)
      if (x)
        e.store(x, at(warp, number++));
  };
  shared.beforeWrite();
  if (alike)
    e.when(e.cmp(arith::CmpIPredicate::eq, arith::AndIOp::create(e.b, e.loc, lane, i32(alike)), i32(0)), write);
  else
    write();
  shared.beforeRead(all);
  Value other = arith::XOrIOp::create(e.b, e.loc, warp, i32(mask));
  Registers result(list.size());
  int64_t number = 0;
  for (size_t r = 0; r < list.size(); ++r)
    if (list[r])
      result[r] = e.load(at(other, number++), type, 1);
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
    int64_t next = done;
    while (next < numBits && bits[next].kind == TokenBit::Register)
      ++next;
    next > done ? advanceInThread(done, next) : advanceAcross(done);
    done = std::max(next, done + 1);
  }
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
    bool anyBefore = false, anyAfter = false; // what some sum needs
    for (const Running &sum : running)
      for (Side side : {sum.left.side, sum.right.side})
        (side == Side::before ? anyBefore : anyAfter) = true;
    Value sum;
    if (anyBefore || !anyAfter)
      for (int64_t block = 0; block < count; ++block) {
        before[first | spread(block)] = sum;
        sum = plus(sum, totals[first | spread(block)]);
      }
    Value back;
    if (anyAfter)
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

/// Blocks in two lanes or warps.
void Lowering::BlockSums::advanceAcross(int64_t bit) {
  Registers own(totals.size());
  for (size_t r = 0; r < totals.size(); ++r)
    own[r] = r & merged ? Value() : totals[r];
  int64_t alike = 0; // lanes of one block have one total
  for (const TokenBit &lower : ArrayRef(bits).take_front(bit))
    alike |= lower.kind == TokenBit::Lane ? int64_t(1) << lower.index : 0;
  Registers others = l.partners(layout, bits[bit], own, alike);
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

} // namespace fla::gpu
