//===- Banks.h - how far apart rows in shared memory are --------*- C++ -*-===//
//
// A tile in shared memory is written in one layout and read in others. Padding its
// rows moves the words that a warp's access touches to other banks: what suits all
// accesses is found by counting their conflicts for each padding.
//
//   64 x 64 of f32, written by rows (4 columns a lane) and read by columns:
//     no padding     writes 1, reads 32 ways
//     4 bytes        writes 1 (of 4 bytes each), reads 1
//
//===----------------------------------------------------------------------===//
#ifndef FLA_LIB_TARGET_GPU_BANKS_H
#define FLA_LIB_TARGET_GPU_BANKS_H

#include "Target.h"

#include <tuple>

namespace fla::gpu {

/// Bytes of shared memory that one access moves for a lane at most.
inline constexpr int64_t kWidestAccess = 16;

/// Bytes between rows, and between the matrices of a tile of more axes.
struct Padding {
  int64_t rows = 0, planes = 0;
};

/// Bytes between neighbours along each axis.
SmallVector<int64_t> stridesOf(ArrayRef<int64_t> shape, int64_t elementBytes, Padding padding);

/// What a warp does with a tile in shared memory: accesses like these, and others that differ by constants.
class WarpAccesses {
public:
  using Place = llvm::function_ref<tile::Coordinates(const tile::Coordinates &)>;

  /// Pieces of `bytes` in registers of `layout`, the first of every `run`. Its element at `x` is at `place(x)` in
  /// memory. With `once` copies are left out. Where rows are not aligned to pieces, pieces are cut.
  void add(const tile::LinearLayout &layout, int64_t run, int64_t bytes, bool once, Place place);
  /// The same of one register of one warp.
  void addRegister(const tile::LinearLayout &layout, int64_t reg, int64_t warp, int64_t bytes, bool once, Place place);
  /// 8x8 matrices, whose rows are 16 bytes of rows in memory.
  void addMatrices();
  void append(const WarpAccesses &other) {
    llvm::append_range(accesses, other.accesses);
    alignTo(other.alignment);
  }
  /// Rows begin at multiples of so many bytes, whoever reads them later.
  void alignTo(int64_t bytes) { alignment = std::max(alignment, bytes); }
  /// The padding with which no access has a conflict of more than two ways, if there is such, and all
  /// take the least time; of equally good ones the smallest.
  Padding choosePadding(ArrayRef<int64_t> shape, int64_t elementBytes) const;
  /// Ways of the worst conflict, 2 if there are fewer.
  int64_t waysWith(ArrayRef<int64_t> shape, int64_t elementBytes, Padding padding) const {
    return costWith(stridesOf(shape, elementBytes, padding)).ways;
  }

private:
  struct Access {
    SmallVector<tile::Coordinates> lanes;
    int64_t bytes;
  };
  /// What accesses take, in turns of the banks and instructions.
  struct Cost {
    int64_t ways = 2, time = 0; ///< up to two ways are as good as one, but for the time
    bool operator<(const Cost &other) const { return std::tie(ways, time) < std::tie(other.ways, other.time); }
  };
  Cost costWith(ArrayRef<int64_t> strides) const;
  SmallVector<Access> accesses;
  int64_t alignment = 4; ///< words: parts of them are not split
};

} // namespace fla::gpu

#endif
