//===- Tokens.cpp - what runs along the tokens of a chunk -----------------===//
//
// Running sums are formed where their operand is, whatever its layout: each bit of a
// token's number is a bit of the register, the lane or the warp, and blocks of 2^i
// tokens become blocks of 2^(i+1), lowest bit first. A thread knows the total of the
// block that each of its elements is in; the totals of the neighbouring blocks come from
// a register, by a shuffle, or through shared memory. Every sum is one of actual
// neighbours, never a difference, so gates may be -inf.
//
// A scan holds whole columns in a thread: register t is token t, registers beyond
// the tokens are further columns.
//
//===----------------------------------------------------------------------===//
#include "BlockSums.h"

#include <limits>

namespace fla::gpu {

constexpr double kInf = std::numeric_limits<double>::infinity();

/// The sum that `start` begins, over blocks of 2^numBits tokens. Columns follow each other, so that few
/// numbers are under way at once, unless warps must meet.
Registers Lowering::sumTokens(const LinearLayout &held, ArrayRef<Value> list, int64_t numBits, llvm::function_ref<void(BlockSums &)> start) {
  SmallVector<TokenBit> bits = tokenBits(held);
  auto used = ArrayRef(bits).take_front(std::min<int64_t>(numBits, bits.size()));
  int64_t tokens = 0, all = held.numRegisters() - 1; // bits of the register that are a token's
  if (llvm::any_of(used, [](const TokenBit &bit) { return bit.kind == TokenBit::Warp; })) {
    tokens = all;
  } else {
    for (const TokenBit &bit : bits)
      tokens |= bit.kind == TokenBit::Register ? int64_t(1) << bit.index : 0;
  }
  tile::Bases rows;
  for (auto [i, basis] : llvm::enumerate(held.registerBases()))
    if ((tokens >> i) & 1)
      rows.push_back(basis);
  LinearLayout column(held.shape(), rows, held.laneBases(), held.warpBases());
  Registers result(list.size());
  for (int64_t first = 0; first <= all; ++first) {
    if (first & tokens)
      continue;
    SmallVector<int64_t> places;
    for (int64_t r = first; r <= all; ++r)
      if ((r & ~tokens) == first)
        places.push_back(r);
    BlockSums sums(*this, column, llvm::map_to_vector(places, [&](int64_t r) { return list[r]; }));
    start(sums);
    sums.advance(numBits);
    for (auto [r, x] : llvm::zip_equal(places, sums.finish()))
      result[r] = x;
  }
  return result;
}

void Lowering::cumsum(tile::CumSumOp op) {
  LinearLayout held = layout(op);
  auto start = [&](BlockSums &sums) { sums.start(op.getReverse() ? Side::after : Side::before, op.getExclusive()); };
  define(op, sumTokens(held, registers(op.getValue()), llvm::Log2_64(held.shape()[0]), start));
}

/// In blocks of 2*level tokens: right halves sum from the middle on, left ones up to it.
void Lowering::levelDecay(tile::LevelDecayOp op) {
  int64_t bit = llvm::Log2_64(op.getLevel());
  auto start = [&](BlockSums &sums) { sums.startByHalf(bit, /*left=*/{Side::after, true}, /*right=*/{Side::before, op.getPre()}); };
  define(op, sumTokens(layout(op), registers(op.getGate()), bit, start));
}

void Lowering::levelDecayGrad(tile::LevelDecayGradOp op) {
  int64_t bit = llvm::Log2_64(op.getLevel());
  auto start = [&](BlockSums &sums) { sums.startByHalf(bit, /*left=*/{Side::before, true}, /*right=*/{Side::after, op.getPre()}); };
  define(op, sumTokens(layout(op), registers(op.getValue()), bit, start));
}

//===----------------------------------------------------------------------===//
// Scans
//===----------------------------------------------------------------------===//

void Lowering::scan(tile::ScanOp op) {
  LinearLayout held = layout(op.getDecay());
  int64_t tokens = held.shape()[0];
  ArrayRef<Value> decay = registers(op.getDecay()), input = registers(op.getInput()), initial = registers(op.getInitial());
  Registers prev, next, last;
  for (int64_t first = 0; first < held.numRegisters(); first += tokens) {
    Value state = initial[first / tokens];
    for (int64_t r = first; r < first + tokens; ++r) {
      prev.push_back(state);
      switch (op.getKind()) {
      case ScanKind::linear:
        state = e.fma(decay[r], state, input[r]);
        break;
      case ScanKind::log:
        state = emitLogAddExp(e, e.addf(state, decay[r]), input[r], [&](Value x) { return exponential(x); });
        break;
      case ScanKind::max:
        state = e.maxf(e.addf(state, decay[r]), input[r]);
        break;
      }
      next.push_back(state);
    }
    last.push_back(state);
  }
  define(op.getPrev(), prev), define(op.getNext(), next), define(op.getLast(), last);
}

void Lowering::scanGrad(tile::ScanGradOp op) {
  LinearLayout held = layout(op.getDecay());
  int64_t tokens = held.shape()[0];
  auto decay = registers(op.getDecay()), input = registers(op.getInput()), prev = registers(op.getPrev()), next = registers(op.getNext());
  auto dPrev = registers(op.getDPrev()), dNext = registers(op.getDNext()), dLast = registers(op.getDLast());
  Type type = elementOf(op.getDecay());
  Value zero = e.real(type, 0.0), one = e.real(type, 1.0);
  Registers dDecay(held.numRegisters()), dInput(held.numRegisters()), dInitial;
  for (int64_t first = 0; first < held.numRegisters(); first += tokens) {
    Value back = dLast[first / tokens];
    for (int64_t r = first + tokens - 1; r >= first; --r) {
      Value d = e.addf(back, dNext[r]);
      if (op.getKind() == ScanKind::linear) {
        dDecay[r] = e.mulf(d, prev[r]), dInput[r] = d, back = e.mulf(d, decay[r]);
      } else {
        Value kept, added, before = e.addf(prev[r], decay[r]);
        if (op.getKind() == ScanKind::max) {
          kept = e.select(e.cmp(arith::CmpFPredicate::OGE, before, input[r]), one, zero);
          added = e.subf(one, kept);
        } else {
          Value reached = e.cmp(arith::CmpFPredicate::OGT, next[r], e.real(type, -kInf));
          Value to = e.select(reached, next[r], zero);
          kept = e.select(reached, exponential(e.subf(before, to)), zero);
          added = e.select(reached, exponential(e.subf(input[r], to)), zero);
        }
        dDecay[r] = e.mulf(d, kept), dInput[r] = e.mulf(d, added), back = dDecay[r];
      }
      back = e.addf(back, dPrev[r]);
    }
    dInitial.push_back(back);
  }
  define(op.getDInitial(), dInitial), define(op.getDDecay(), dDecay), define(op.getDInput(), dInput);
}

} // namespace fla::gpu
