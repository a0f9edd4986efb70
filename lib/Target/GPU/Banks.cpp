//===- Banks.cpp - how far apart rows in shared memory are ----------------===//
#include "Banks.h"

#include <optional>

namespace fla::gpu {

/// More bytes between rows are not tried: these reach every bank.
static constexpr int64_t kBankBytes = 128;

void WarpAccesses::add(const tile::LinearLayout &layout, int64_t run, int64_t bytes, bool once, Place place) {
  // What registers and warps add moves all lanes alike, but where it carries: each bit of the register's number is tried.
  for (int64_t reg = 0; reg < layout.numRegisters(); reg = reg ? 2 * reg : run)
    addRegister(layout, reg, bytes, once, place);
}

void WarpAccesses::addRegister(const tile::LinearLayout &layout, int64_t reg, int64_t bytes, bool once, Place place) {
  int64_t copies = once ? layout.copies().lane : 0;
  Access access{{}, bytes};
  for (int64_t lane = 0; lane < layout.numLanes(); ++lane)
    if (!(lane & copies))
      access.lanes.push_back(place(layout.apply(reg, lane, 0)));
  accesses.push_back(std::move(access));
}

void WarpAccesses::addMatrices() {
  Access rows{{}, kWidestAccess};
  for (int32_t row = 0; row < 8; ++row)
    rows.lanes.push_back({row, 0});
  accesses.push_back(std::move(rows));
  alignTo(kWidestAccess);
}

WarpAccesses::Cost WarpAccesses::costWith(int64_t rowBytes, ArrayRef<int64_t> shape, int64_t elementBytes) const {
  Cost cost;
  int64_t aligned = std::min(kWidestAccess, rowBytes & -rowBytes);
  for (const Access &access : accesses) {
    SmallVector<int64_t> addresses;
    for (const tile::Coordinates &at : access.lanes) {
      int64_t row = 0;
      for (size_t axis = 0; axis + 1 < shape.size(); ++axis)
        row = row * shape[axis] + at[axis];
      addresses.push_back(row * rowBytes + at.back() * elementBytes);
    }
    int64_t piece = std::min(access.bytes, aligned), pieces = access.bytes / piece;
    int64_t ways = tile::countBankConflicts(addresses, piece);
    int64_t phases = llvm::divideCeil(addresses.size() * std::max<int64_t>(piece, 4), kBankBytes);
    cost.ways = std::max(cost.ways, ways);
    cost.time += pieces * (ways * phases + 1);
  }
  return cost;
}

int64_t WarpAccesses::choosePadding(ArrayRef<int64_t> shape, int64_t elementBytes) const {
  if (shape.size() < 2)
    return 0;
  int64_t step = std::max(alignment, elementBytes), columns = shape.back() * elementBytes, best = 0;
  std::optional<Cost> least;
  for (int64_t padding = llvm::alignTo(columns, step) - columns; padding < kBankBytes; padding += step)
    if (Cost cost = costWith(columns + padding, shape, elementBytes); !least || cost < *least)
      least = cost, best = padding;
  return best;
}

} // namespace fla::gpu
