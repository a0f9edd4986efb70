//===- Banks.cpp - bank conflicts of linear addresses ---------------------===//
//
// The words that a group of lanes touches at once form a space over F2, and the
// bank of a word is a linear map on it. So each bank that is hit serves as many
// words as that map's kernel has: two to the power of (rank of the words - rank
// of their banks). Lanes that touch the same word share it.
//
//===----------------------------------------------------------------------===//
#include "F2.h"
#include "fla/Dialect/Tile/Layout/LinearLayout.h"

#include "llvm/ADT/STLExtras.h"

#include <algorithm>
#include <cassert>
#include <limits>

using namespace llvm;

namespace fla::tile {
namespace {

constexpr int64_t kWordBytes = 4;

/// How many lanes, a run of them, move at most one word a bank.
int64_t lanesAtOnce(int64_t bytes, int64_t banks) { return std::max<int64_t>(banks * kWordBytes / std::max(bytes, kWordBytes), 1); }

/// The elements of one access: neighbours along the columns that a thread holds in a row of
/// registers, at most `width`.
int64_t pieceOf(const LinearLayout &layout, int64_t width) { return std::min(layout.contiguous(1), width); }

/// Time that a layout's accesses to the swizzled matrix take, in accesses without conflicts.
int64_t accessTime(const LinearLayout &layout, const Swizzle &swizzle, int64_t columns, int64_t elementBytes, int64_t width) {
  SmallVector<int64_t> addresses =
      map_to_vector(layout.laneBases(), [&](const Coordinates &basis) { return swizzle.offset(basis[0], basis[1], columns) * elementBytes; });
  int64_t piece = pieceOf(layout, width);
  return bankConflicts(addresses, piece * elementBytes) * (layout.numRegisters() / piece);
}

} // namespace

int64_t bankConflicts(ArrayRef<int64_t> addressOfLaneBit, int64_t bytes, int64_t banks) {
  assert(isPowerOf2_64(bytes) && isPowerOf2_64(banks) && "expected powers of two");
  size_t groupBits = Log2_64(lanesAtOnce(bytes, banks));
  f2::Span words, hit;
  // The words inside one access are in banks of their own, whatever the lane.
  for (uint64_t address : addressOfLaneBit.take_front(groupBits)) {
    assert(address % bytes == 0 && "expected aligned accesses");
    words.insert(address / kWordBytes);
    hit.insert(address / kWordBytes % banks);
  }
  return int64_t(1) << (words.rank() - hit.rank());
}

int64_t countBankConflicts(ArrayRef<int64_t> addressOfLane, int64_t bytes, int64_t banks) {
  int64_t atOnce = lanesAtOnce(bytes, banks), worst = 1;
  SmallVector<SmallVector<int64_t, 2>, 32> wordsOfBank(banks);
  for (; !addressOfLane.empty(); addressOfLane = addressOfLane.drop_front(std::min<size_t>(atOnce, addressOfLane.size()))) {
    for (SmallVector<int64_t, 2> &words : wordsOfBank)
      words.clear();
    for (int64_t address : addressOfLane.take_front(atOnce))
      for (int64_t word = address / kWordBytes; word * kWordBytes < address + bytes; ++word)
        if (SmallVector<int64_t, 2> &words = wordsOfBank[word % banks]; !is_contained(words, word)) {
          words.push_back(word);
          worst = std::max<int64_t>(worst, words.size());
        }
  }
  return worst;
}

Swizzle chooseSwizzle(int64_t rows, int64_t columns, int64_t elementBytes, int64_t width, const LinearLayout &write, const LinearLayout &read) {
  assert(isPowerOf2_64(rows) && isPowerOf2_64(columns) && isPowerOf2_64(width) && "expected powers of two");
  width = std::min(width, columns);
  Swizzle best;
  int64_t bestTime = std::numeric_limits<int64_t>::max();
  for (int64_t mask = 0; mask < columns / width; mask = 2 * mask + 1)
    for (int64_t shift = 0; shift == 0 || (mask && (rows - 1) >> shift); ++shift) {
      Swizzle swizzle{width, mask, shift};
      int64_t time = accessTime(write, swizzle, columns, elementBytes, width) + accessTime(read, swizzle, columns, elementBytes, width);
      if (time < bestTime) {
        bestTime = time;
        best = swizzle;
      }
    }
  return best;
}

} // namespace fla::tile
