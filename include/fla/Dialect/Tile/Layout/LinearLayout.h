//===- LinearLayout.h - which thread holds which element --------*- C++ -*-===//
//
// A layout maps (register, lane, warp) to the coordinates of a tile. All three
// are numbers whose bits are coordinates of a vector space over F2, and the map
// is linear: the coordinates of a sum (exclusive or) are the sum of the
// coordinates. So a layout is a list of *bases*: the coordinates of each single
// bit of the register, the lane and the warp.
//
// Worked example: the accumulator of NVIDIA's mma.m16n8 (PTX ISA, "Matrix
// fragments for mma.m16n8k16"). Lane l holds four numbers c0..c3: c0 and c1 in
// row l/4, columns 2(l%4) and 2(l%4)+1; c2 and c3 eight rows further down.
//
//   register bit 0: (0,1)   bit 1: (8,0)
//   lane bits 0, 1: (0,2) (0,4)   bits 2, 3, 4: (1,0) (2,0) (4,0)
//
// Register 3 = bits 0 and 1 of lane 5 = bits 0 and 2 is at (0,1)+(8,0)+(0,2)+(1,0)
// = (9,3). A basis of zeros means that both values of the bit hold the same element.
//
// What can be asked: where an element is (`invert`), what a change of layout needs
// (`Conversion`), how wide a memory access may be (`contiguous`), and how many
// lanes meet in one bank (`bankConflicts`).
//
//===----------------------------------------------------------------------===//
#ifndef FLA_DIALECT_TILE_LAYOUT_LINEARLAYOUT_H
#define FLA_DIALECT_TILE_LAYOUT_LINEARLAYOUT_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"

#include <cstdint>
#include <optional>
#include <string>

namespace fla::tile {

/// Coordinates of one element, one number an axis.
using Coordinates = llvm::SmallVector<int32_t, 4>;
/// The coordinates of each bit of an input.
using Bases = llvm::SmallVector<Coordinates, 6>;

class LinearLayout {
public:
  LinearLayout() = default;
  /// Sizes are powers of two and each basis has one coordinate an axis, below its size.
  LinearLayout(llvm::ArrayRef<int64_t> shape, Bases registers, Bases lanes, Bases warps);

  /// Rows by rows: `width` neighbours along the last axis in one thread, then lanes, then warps
  /// along the later axes first, then registers for what is left; threads beyond the tile hold copies.
  /// Lanes that the last axis does not use up go on along the axis before it. `width` is cut to the last axis.
  static LinearLayout blocked(llvm::ArrayRef<int64_t> shape, int64_t width, int64_t lanes, int64_t warps);
  /// An atom (one warp) repeated over a matrix: warps along the rows first, at most
  /// `rowWarps` of them, the others along the columns; registers for what is left, columns first.
  /// Warps that find neither rows nor columns hold copies. No axis is smaller than the atom's.
  static LinearLayout tiled(llvm::ArrayRef<int64_t> shape, const LinearLayout &atom, int64_t warps, int64_t rowWarps);
  /// The same, of any rank and with a given basis for each bit of the warp: a step of the atom's size
  /// or a larger power of two along one axis, or zeros (the warps hold copies, as of a product's operand).
  static LinearLayout tiled(llvm::ArrayRef<int64_t> shape, const LinearLayout &atom, const Bases &warpBits);

  llvm::ArrayRef<int64_t> shape() const { return sizes; }
  int64_t rank() const { return sizes.size(); }
  int64_t numRegisters() const { return int64_t(1) << registers.size(); }
  int64_t numLanes() const { return int64_t(1) << lanes.size(); }
  int64_t numWarps() const { return int64_t(1) << warps.size(); }
  const Bases &registerBases() const { return registers; }
  const Bases &laneBases() const { return lanes; }
  const Bases &warpBases() const { return warps; }
  bool operator==(const LinearLayout &other) const;
  bool operator!=(const LinearLayout &other) const { return !(*this == other); }

  /// Coordinates of the element that a thread holds in a register.
  Coordinates apply(int64_t reg, int64_t lane, int64_t warp) const;
  /// The smallest (register, lane, warp) that holds an element, the register compared first, or none.
  struct Place {
    int64_t reg, lane, warp;
  };
  std::optional<Place> invert(llvm::ArrayRef<int32_t> at) const;
  /// The bits of the register, the lane and the warp that are zero in every place that `invert` finds:
  /// a place holds the first copy of its element iff it has none of these bits.
  Place copies() const;
  /// True if every element has a place.
  bool isSurjective() const;
  /// True if no element has two places.
  bool isInjective() const;

  /// The layout of a tile reduced along `axis`: its basis coordinates go.
  LinearLayout dropAxis(int64_t axis) const;
  /// The layout of a tile that a `dropAxis`-like vector is broadcast to, read backwards:
  /// the coordinates of the result's `axes` alone.
  LinearLayout select(llvm::ArrayRef<int64_t> axes) const;
  /// Axes in another order: axis i of the result is axis `order[i]` of this.
  LinearLayout transpose(llvm::ArrayRef<int64_t> order) const;
  /// The same with register bits removed that hold what lower registers of the same thread hold.
  /// `planConversion(layout, layout.withoutCopies())` says which registers stay.
  LinearLayout withoutCopies() const;

  /// Elements in one run of registers 0, 1, 2, ... that neighbour along `axis` (a power of two).
  int64_t contiguous(int64_t axis) const;

  std::string str() const;

private:
  llvm::SmallVector<int64_t, 4> sizes;
  Bases registers, lanes, warps;
};

/// What turns one layout of a tile into another.
enum class ConversionKind {
  identity,  ///< nothing: the same thread has the element in the same register
  registers, ///< the same thread has it in another register
  shuffle,   ///< another lane of the same warp has it
  shared     ///< another warp has it: through shared memory
};

struct Conversion {
  ConversionKind kind = ConversionKind::shared;
  /// Kinds `identity` and `registers`: the source register of each result register. Else empty.
  llvm::SmallVector<int64_t> source;
};

/// The cheapest conversion; both layouts are of the same shape, `from` is surjective. A shuffle that
/// would take more time than the pass through shared memory is not chosen.
Conversion planConversion(const LinearLayout &from, const LinearLayout &to);
/// Whether each warp holds the same elements in both layouts, so that a conversion needs no other warp.
bool staysInWarp(const LinearLayout &from, const LinearLayout &to);
/// For kind `shuffle`: which (register, lane) of the same warp a result (register, lane) reads. Linear:
/// the source of (r, l) is the exclusive or of those of (r, 0) and of (0, b) for each bit b of l. The register
/// may depend on the lane, as little as possible; if each source lane is the result's own, selections suffice.
std::pair<int64_t, int64_t> shuffleSource(const LinearLayout &from, const LinearLayout &to, int64_t reg, int64_t lane);

/// Ways of the worst bank conflict (1 is none) when each lane of a warp accesses `bytes` contiguous
/// bytes at byte address `address(lane)`, a multiple of `bytes`, linear over F2 and given by the address of each lane bit;
/// banks are 4 bytes wide. Lanes are served in groups that move at most one word a bank: 32 banks serve
/// 32 lanes of up to 4 bytes at once, 16 of 8, 8 of 16. Lanes that touch the same word share it.
int64_t bankConflicts(llvm::ArrayRef<int64_t> addressOfLaneBit, int64_t bytes, int64_t banks = 32);
/// The same of any addresses, one a lane, by counting.
int64_t countBankConflicts(llvm::ArrayRef<int64_t> addressOfLane, int64_t bytes, int64_t banks = 32);

/// A swizzle of a row-major matrix in shared memory: the chunk of `width` elements number c of
/// row r is stored as number c ^ ((r >> shift) & mask).
struct Swizzle {
  int64_t width = 1, mask = 0, shift = 0;
  int64_t offset(int64_t row, int64_t column, int64_t columns) const {
    int64_t chunk = (column / width) ^ ((row >> shift) & mask);
    return row * columns + chunk * width + column % width;
  }
};
/// The swizzle with the fewest bank conflicts (of 32 banks) for a matrix of `rows` x `columns` elements, powers
/// of two, that is written in one layout and read in another, in pieces of at most `width` neighbours of a row.
/// Of equally good ones the smallest; a mask of 0 if rows need not be swizzled.
Swizzle chooseSwizzle(int64_t rows, int64_t columns, int64_t elementBytes, int64_t width, const LinearLayout &write, const LinearLayout &read);

} // namespace fla::tile

#endif
