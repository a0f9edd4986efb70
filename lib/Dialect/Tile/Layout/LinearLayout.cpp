//===- LinearLayout.cpp - which thread holds which element ----------------===//
#include "fla/Dialect/Tile/Layout/LinearLayout.h"
#include "F2.h"

#include "llvm/ADT/Sequence.h"
#include "llvm/Support/raw_ostream.h"

#include <algorithm>
#include <cassert>

using namespace llvm;

namespace fla::tile {
namespace {

/// The coordinates with 1 << bit on one axis and 0 elsewhere.
Coordinates unit(int64_t rank, int64_t axis, int64_t bit) {
  Coordinates at(rank, 0);
  at[axis] = int32_t(1) << bit;
  return at;
}

/// The bits of a tile from the last axis's lowest to the first axis's highest.
Bases rowMajorBits(ArrayRef<int64_t> shape) {
  Bases bits;
  for (int64_t axis = shape.size() - 1; axis >= 0; --axis)
    for (unsigned bit = 0; bit < Log2_64(shape[axis]); ++bit)
      bits.push_back(unit(shape.size(), axis, bit));
  return bits;
}

/// The next `count` bases of `bits` from `next` on; zeros when they run out.
Bases deal(const Bases &bits, size_t &next, int64_t count, int64_t rank) {
  Bases dealt;
  for (int64_t i = 0; i < count; ++i)
    dealt.push_back(next < bits.size() ? bits[next++] : Coordinates(rank, 0));
  return dealt;
}

void accumulate(Coordinates &at, const Bases &bases, int64_t number) {
  for (auto [bit, basis] : enumerate(bases))
    if (number >> bit & 1)
      for (auto [x, step] : zip_equal(at, basis))
        x ^= step;
}

Bases pick(const Bases &bases, ArrayRef<int64_t> axes) {
  return map_to_vector<6>(bases,
                          [&](const Coordinates &basis) -> Coordinates { return map_to_vector<4>(axes, [&](int64_t axis) { return basis[axis]; }); });
}

/// Bits of warps, lanes, registers: a solution uses the earliest that will do, so the
/// register it finds is the smallest, then the lane.
f2::Span spanOf(const LinearLayout &layout) {
  f2::Span span(f2::flattenAll(layout.shape(), layout.warpBases()));
  span.insert(f2::flattenAll(layout.shape(), layout.laneBases()));
  span.insert(f2::flattenAll(layout.shape(), layout.registerBases()));
  return span;
}

/// The bits of `bases` that are sums of what `span` holds; the others are added to it.
int64_t dependentBits(f2::Span &span, ArrayRef<f2::Vector> bases) {
  int64_t mask = 0;
  for (auto [bit, basis] : enumerate(bases))
    if (!span.insert(basis))
      mask |= int64_t(1) << bit;
  return mask;
}

void print(raw_ostream &os, StringRef name, const Bases &bases) {
  os << name;
  for (const Coordinates &basis : bases) {
    os << " (";
    interleave(basis, os, ",");
    os << ")";
  }
  if (bases.empty())
    os << " none";
}

} // namespace

LinearLayout::LinearLayout(ArrayRef<int64_t> shape, Bases registers, Bases lanes, Bases warps)
    : sizes(shape), registers(std::move(registers)), lanes(std::move(lanes)), warps(std::move(warps)) {
  assert(all_of(sizes, [](int64_t size) { return isPowerOf2_64(size); }) && "expected sizes that are powers of two");
  [[maybe_unused]] auto fits = [&](const Coordinates &basis) {
    return basis.size() == sizes.size() &&
           all_of(zip(basis, sizes), [](auto pair) { return std::get<0>(pair) >= 0 && std::get<0>(pair) < std::get<1>(pair); });
  };
  assert(all_of(this->registers, fits) && all_of(this->lanes, fits) && all_of(this->warps, fits) && "expected bases inside the tile");
}

LinearLayout LinearLayout::blocked(ArrayRef<int64_t> shape, int64_t width, int64_t lanes, int64_t warps) {
  assert(isPowerOf2_64(width) && isPowerOf2_64(lanes) && isPowerOf2_64(warps) && "expected powers of two");
  Bases bits = rowMajorBits(shape);
  int64_t rank = shape.size();
  size_t next = 0;
  Bases registerBits = deal(bits, next, rank ? Log2_64(std::min(width, shape.back())) : 0, rank);
  Bases laneBits = deal(bits, next, Log2_64(lanes), rank);
  Bases warpBits = deal(bits, next, Log2_64(warps), rank);
  registerBits.append(bits.begin() + next, bits.end());
  return LinearLayout(shape, registerBits, laneBits, warpBits);
}

LinearLayout LinearLayout::tiled(ArrayRef<int64_t> shape, const LinearLayout &atom, const Bases &warpBits) {
  assert(atom.rank() == int64_t(shape.size()) && atom.warps.empty() && "expected an atom of one warp and of the tile's rank");
  Bases registerBits = atom.registers;
  for (int64_t axis = shape.size() - 1; axis >= 0; --axis) {
    assert(atom.sizes[axis] <= shape[axis] && "expected a tile no smaller than the atom");
    for (unsigned bit = Log2_64(atom.sizes[axis]); bit < Log2_64(shape[axis]); ++bit)
      if (Coordinates step = unit(shape.size(), axis, bit); !is_contained(warpBits, step))
        registerBits.push_back(step);
  }
  return LinearLayout(shape, registerBits, atom.lanes, warpBits);
}

LinearLayout LinearLayout::tiled(ArrayRef<int64_t> shape, const LinearLayout &atom, int64_t warps, int64_t rowWarps) {
  assert(shape.size() == 2 && atom.rank() == 2 && "expected a matrix");
  assert(isPowerOf2_64(warps) && isPowerOf2_64(rowWarps) && "expected powers of two");
  auto stepsAlong = [&](int64_t axis, int64_t limit) {
    Bases steps;
    for (unsigned bit = Log2_64(atom.sizes[axis]); bit < Log2_64(shape[axis]) && int64_t(steps.size()) < limit; ++bit)
      steps.push_back(unit(2, axis, bit));
    return steps;
  };
  int64_t bits = Log2_64(warps);
  Bases warpBits = stepsAlong(0, std::min<int64_t>(bits, Log2_64(rowWarps)));
  warpBits.append(stepsAlong(1, bits - warpBits.size()));
  warpBits.resize(bits, Coordinates(2, 0));
  return tiled(shape, atom, warpBits);
}

bool LinearLayout::operator==(const LinearLayout &other) const {
  return sizes == other.sizes && registers == other.registers && lanes == other.lanes && warps == other.warps;
}

Coordinates LinearLayout::apply(int64_t reg, int64_t lane, int64_t warp) const {
  assert(reg < numRegisters() && lane < numLanes() && warp < numWarps() && "expected a place of the layout");
  Coordinates at(rank(), 0);
  accumulate(at, registers, reg);
  accumulate(at, lanes, lane);
  accumulate(at, warps, warp);
  return at;
}

std::optional<LinearLayout::Place> LinearLayout::invert(ArrayRef<int32_t> at) const {
  std::optional<f2::Vector> terms = spanOf(*this).solve(f2::flatten(sizes, at));
  if (!terms)
    return std::nullopt;
  auto take = [&](int64_t count) {
    int64_t number = *terms & (count - 1);
    *terms /= count;
    return number;
  };
  int64_t warp = take(numWarps()), lane = take(numLanes());
  return Place{take(numRegisters()), lane, warp};
}

LinearLayout::Place LinearLayout::copies() const {
  f2::Span span;
  int64_t warp = dependentBits(span, f2::flattenAll(sizes, warps));
  int64_t lane = dependentBits(span, f2::flattenAll(sizes, lanes));
  return {dependentBits(span, f2::flattenAll(sizes, registers)), lane, warp};
}

bool LinearLayout::isSurjective() const {
  int64_t bits = 0;
  for (int64_t size : sizes)
    bits += Log2_64(size);
  return spanOf(*this).rank() == bits;
}

bool LinearLayout::isInjective() const { return spanOf(*this).rank() == int64_t(registers.size() + lanes.size() + warps.size()); }

LinearLayout LinearLayout::dropAxis(int64_t axis) const {
  SmallVector<int64_t> kept = to_vector(seq<int64_t>(0, rank()));
  kept.erase(kept.begin() + axis);
  return select(kept);
}

LinearLayout LinearLayout::select(ArrayRef<int64_t> axes) const {
  SmallVector<int64_t> shape = map_to_vector(axes, [&](int64_t axis) { return sizes[axis]; });
  return LinearLayout(shape, pick(registers, axes), pick(lanes, axes), pick(warps, axes));
}

LinearLayout LinearLayout::transpose(ArrayRef<int64_t> order) const {
  assert(int64_t(order.size()) == rank() && all_of(seq<int64_t>(0, rank()), [&](int64_t axis) { return is_contained(order, axis); }) &&
         "expected a permutation of the axes");
  return select(order);
}

LinearLayout LinearLayout::withoutCopies() const {
  f2::Span span;
  Bases kept;
  for (const Coordinates &basis : registers)
    if (span.insert(f2::flatten(sizes, basis)))
      kept.push_back(basis);
  return LinearLayout(sizes, kept, lanes, warps);
}

int64_t LinearLayout::contiguous(int64_t axis) const {
  int64_t run = 0;
  while (run < int64_t(registers.size()) && registers[run] == unit(rank(), axis, run))
    ++run;
  // A run starts at a multiple of its length: nothing else may move inside it.
  auto movesInside = [&](const Coordinates &basis) { return basis[axis] & ((int32_t(1) << run) - 1); };
  auto others = [&] { return concat<const Coordinates>(ArrayRef(registers).drop_front(run), lanes, warps); };
  while (any_of(others(), movesInside))
    --run;
  return int64_t(1) << run;
}

std::string LinearLayout::str() const {
  std::string text;
  raw_string_ostream os(text);
  interleave(sizes, os, "x");
  os << ": ";
  print(os, "registers", registers);
  print(os, "; lanes", lanes);
  print(os, "; warps", warps);
  return text;
}

} // namespace fla::tile
