//===- BlockSums.h - sums over blocks of tokens -----------------*- C++ -*-===//
//
// Four tokens in lanes 0..3, x = a b c d; sums of what is before, inclusive:
//
//   blocks of   totals                  sums
//   1           a    b    c    d        a   b    c      d
//   2           a+b  a+b  c+d  c+d      a   a+b  c      c+d      (bit 0: lanes 1 and 3 add their partner's total)
//   4           all  ...                a   a+b  a+b+c  a+b+c+d  (bit 1: lanes 2 and 3 add their partner's total)
//
//===----------------------------------------------------------------------===//
#ifndef FLA_LIB_TARGET_GPU_BLOCKSUMS_H
#define FLA_LIB_TARGET_GPU_BLOCKSUMS_H

#include "Lowering.h"

namespace fla::gpu {

/// Which tokens of its block a token sums: those before it or those after it.
enum class Side { before, after };

class Lowering::BlockSums {
public:
  struct Sum {
    Side side;
    bool exclusive; ///< without the token itself
  };
  BlockSums(Lowering &lowering, const LinearLayout &layout, ArrayRef<Value> list);

  int64_t numBits() const { return bits.size(); }
  /// Begins a sum; its number.
  int64_t start(Side side, bool exclusive);
  /// The same with another side for tokens with a bit clear (left) and set (right), a bit not reached yet.
  int64_t startByHalf(int64_t bit, Sum left, Sum right);
  /// Sums over blocks of 2^numBits tokens.
  void advance(int64_t to);
  /// A sum as it is now.
  Registers finish(int64_t number = 0);

private:
  /// A sum that has begun. Elements that are null are zero.
  struct Running {
    int64_t halfOf = -1; ///< the bit that says which half a token is in, or none
    Sum left, right;
    Registers list;
  };
  void advanceInThread(int64_t from, int64_t to);
  void advanceAcrossLanes(int64_t bit);
  void advanceAcrossWarps(int64_t from, int64_t to);
  bool isNeeded(Side side) const;
  /// The side of a register's element where it is the same in all threads.
  std::optional<Side> sideOf(const Running &sum, int64_t reg);
  /// Adds to an element what lies on its side; `before` and `after` may be null (nothing is there).
  void add(Running &sum, int64_t reg, Value before, Value after);
  Value plus(Value x, Value y) { return !x ? y : !y ? x : l.e.addf(x, y); }

  Lowering &l;
  LinearLayout layout;
  SmallVector<TokenBit> bits;
  Registers totals; ///< of each element's block; where blocks span registers, in the first one alone
  int64_t merged = 0, done = 0;
  SmallVector<Running, 2> running;
};

} // namespace fla::gpu

#endif
