//===- Banks.cpp - how far apart rows in shared memory are ----------------===//
#include "Banks.h"

#include <optional>

namespace fla::gpu {

/// More bytes between rows are not tried: these reach every bank.
static constexpr int64_t kBankBytes = 128;

SmallVector<int64_t> stridesOf(ArrayRef<int64_t> shape, int64_t elementBytes, Padding padding) {
  int64_t rank = shape.size();
  SmallVector<int64_t> strides(rank, elementBytes);
  for (int64_t axis = rank - 2; axis >= 0; --axis) {
    int64_t between = axis == rank - 2 ? padding.rows : axis == rank - 3 ? padding.planes : 0;
    strides[axis] = strides[axis + 1] * shape[axis + 1] + between;
  }
  return strides;
}

void WarpAccesses::add(const tile::LinearLayout &layout, int64_t run, int64_t bytes, bool once, Place place) {
  // What registers and warps add moves all lanes alike, but where it carries: each bit of the register's number is tried.
  for (int64_t reg = 0; reg < layout.numRegisters(); reg = reg ? 2 * reg : run)
    addRegister(layout, reg, /*warp=*/0, bytes, once, place);
}

void WarpAccesses::addRegister(const tile::LinearLayout &layout, int64_t reg, int64_t warp, int64_t bytes, bool once, Place place) {
  int64_t copies = once ? layout.copies().lane : 0;
  Access access{{}, bytes};
  for (int64_t lane = 0; lane < layout.numLanes(); ++lane)
    if (!(lane & copies))
      access.lanes.push_back(place(layout.apply(reg, lane, warp)));
  accesses.push_back(std::move(access));
}

void WarpAccesses::addMatrices() {
  Access rows{{}, kWidestAccess};
  for (int32_t row = 0; row < 8; ++row)
    rows.lanes.push_back({row, 0});
  accesses.push_back(std::move(rows));
  alignTo(kWidestAccess);
}

WarpAccesses::Cost WarpAccesses::costWith(ArrayRef<int64_t> strides) const {
  Cost cost;
  int64_t aligned = kWidestAccess;
  for (int64_t stride : strides.drop_back())
    aligned = std::min(aligned, stride & -stride);
  for (const Access &access : accesses) {
    SmallVector<int64_t> addresses;
    for (const tile::Coordinates &at : access.lanes) {
      int64_t address = 0;
      for (auto [x, stride] : llvm::zip_equal(at, strides))
        address += x * stride;
      addresses.push_back(address);
    }
    int64_t piece = std::min(access.bytes, aligned), pieces = access.bytes / piece;
    int64_t ways = tile::countBankConflicts(addresses, piece);
    int64_t phases = llvm::divideCeil(addresses.size() * std::max<int64_t>(piece, 4), kBankBytes);
    cost.ways = std::max(cost.ways, ways);
    cost.time += pieces * (ways * phases + 1);
  }
  return cost;
}

Padding WarpAccesses::choosePadding(ArrayRef<int64_t> shape, int64_t elementBytes) const {
  Padding best;
  if (shape.size() < 2)
    return best;
  int64_t step = std::max(alignment, elementBytes), columns = shape.back() * elementBytes;
  SmallVector<int64_t> ofPlanes{0}; // few are tried: where planes begin matters, not in which order
  for (int64_t padding = step; padding < kBankBytes && shape.size() > 2; padding *= 2)
    ofPlanes.push_back(padding);
  std::optional<Cost> least;
  for (int64_t planes : ofPlanes)
    for (int64_t rows = llvm::alignTo(columns, step) - columns; rows < kBankBytes; rows += step) {
      Padding padding{rows, planes};
      if (Cost cost = costWith(stridesOf(shape, elementBytes, padding)); !least || cost < *least)
        least = cost, best = padding;
    }
  return best;
}

} // namespace fla::gpu
