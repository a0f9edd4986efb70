//===- Conversion.cpp - from one layout of a tile to another --------------===//
//
// With the same lanes and warps, "where does `from` hold what `to` wants" is a
// linear system: each bit of the result's (register, lane) is solved on its own,
// and the source of a number is the sum of the sources of its bits.
//
//===----------------------------------------------------------------------===//
#include "F2.h"
#include "fla/Dialect/Tile/Layout/LinearLayout.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/Sequence.h"

#include <algorithm>
#include <cassert>

using namespace llvm;

namespace fla::tile {
namespace {

using Images = SmallVector<f2::Vector>;

/// The bases of a layout as vectors.
struct Flat {
  Images registers, lanes, warps;
  explicit Flat(const LinearLayout &layout)
      : registers(f2::flattenAll(layout.shape(), layout.registerBases())), lanes(f2::flattenAll(layout.shape(), layout.laneBases())),
        warps(f2::flattenAll(layout.shape(), layout.warpBases())) {}
};

/// The source (register, lane) of each bit of the result's register and lane.
struct Sources {
  Images registerOfRegister, laneOfRegister;
  Images registerOfLane, laneOfLane;
  /// Every lane reads from itself.
  bool ownLane() const {
    return all_of(laneOfRegister, [](f2::Vector lane) { return lane == 0; }) &&
           all_of(enumerate(laneOfLane), [](auto lane) { return lane.value() == uint64_t(1) << lane.index(); });
  }
  /// How many source registers one result register has among the lanes.
  int64_t variants() const { return int64_t(1) << f2::Span(registerOfLane).rank(); }
};

/// Register bits of `from` that sum to each vector of `wanted`; a bit that has the same basis
/// in both is its own source.
std::optional<Images> solveEach(const f2::Span &span, ArrayRef<f2::Vector> held, ArrayRef<f2::Vector> wanted) {
  Images solved;
  for (auto [bit, vector] : enumerate(wanted)) {
    bool same = bit < held.size() && held[bit] == vector;
    std::optional<f2::Vector> terms = same ? f2::Vector(1) << bit : span.solve(vector);
    if (!terms)
      return std::nullopt;
    solved.push_back(*terms);
  }
  return solved;
}

/// Sources inside each thread: each lane selects among its own registers.
std::optional<Sources> ownLaneSources(const Flat &from, const Flat &to) {
  f2::Span registers(from.registers);
  Sources sources;
  std::optional<Images> ofRegisters = solveEach(registers, from.registers, to.registers);
  if (!ofRegisters)
    return std::nullopt;
  for (auto [bit, have, want] : enumerate(from.lanes, to.lanes)) {
    std::optional<f2::Vector> terms = registers.solve(have ^ want);
    if (!terms)
      return std::nullopt;
    sources.registerOfLane.push_back(*terms);
    sources.laneOfLane.push_back(f2::Vector(1) << bit);
  }
  sources.registerOfRegister = *ofRegisters;
  sources.laneOfRegister.assign(to.registers.size(), 0);
  return sources;
}

/// Sources inside the warp. Result registers prefer other registers and result lanes prefer other
/// lanes, so that as few source registers as possible depend on the lane.
std::optional<Sources> warpSources(const Flat &from, const Flat &to) {
  f2::Span registersFirst(from.registers), lanesFirst(from.lanes);
  registersFirst.insert(from.lanes);
  lanesFirst.insert(from.registers);
  std::optional<Images> ofRegisters = solveEach(registersFirst, from.registers, to.registers);
  std::optional<Images> ofLanes = solveEach(lanesFirst, from.lanes, to.lanes);
  if (!ofRegisters || !ofLanes)
    return std::nullopt;
  auto low = [](const Images &terms, size_t bits) {
    return map_to_vector(terms, [&](f2::Vector term) { return term & ((f2::Vector(1) << bits) - 1); });
  };
  auto high = [](const Images &terms, size_t bits) { return map_to_vector(terms, [&](f2::Vector term) { return term >> bits; }); };
  size_t registers = from.registers.size(), lanes = from.lanes.size();
  return Sources{Images(low(*ofRegisters, registers)), Images(high(*ofRegisters, registers)), Images(high(*ofLanes, lanes)),
                 Images(low(*ofLanes, lanes))};
}

/// Where each (register, lane) of the result is in the same warp, whichever warp that is; or none.
std::optional<Sources> findSources(const LinearLayout &from, const LinearLayout &to) {
  Flat have(from), want(to);
  if (have.lanes.size() != want.lanes.size() || have.warps != want.warps)
    return std::nullopt;
  std::optional<Sources> own = ownLaneSources(have, want);
  return own ? own : warpSources(have, want);
}

/// A thread's instructions, with a selection between two registers as the unit. A shuffle and an
/// access to shared memory each take a warp as long as about four of those.
constexpr int64_t kExchange = 4, kBarrier = 32;

int64_t shuffleCost(const LinearLayout &to, const Sources &sources) {
  int64_t registers = to.withoutCopies().numRegisters(), variants = sources.variants();
  return registers * ((sources.ownLane() ? 0 : variants * kExchange) + variants - 1);
}

/// Accesses of up to four registers at once, and a barrier before and after the writes.
int64_t sharedCost(const LinearLayout &from, const LinearLayout &to) {
  auto accesses = [](const LinearLayout &layout) {
    int64_t wide = layout.rank() ? std::min<int64_t>(layout.contiguous(layout.rank() - 1), 4) : 1;
    return std::max<int64_t>(layout.withoutCopies().numRegisters() / wide, 1);
  };
  return kExchange * (accesses(from) + accesses(to)) + 2 * kBarrier;
}

} // namespace

Conversion planConversion(const LinearLayout &from, const LinearLayout &to) {
  assert(from.shape() == to.shape() && "expected layouts of the same shape");
  assert(from.isSurjective() && "expected a source that holds every element");
  std::optional<Sources> sources = findSources(from, to);
  if (!sources)
    return {ConversionKind::shared, {}};
  if (!sources->ownLane() || sources->variants() > 1)
    return {shuffleCost(to, *sources) <= sharedCost(from, to) ? ConversionKind::shuffle : ConversionKind::shared, {}};
  Conversion conversion{ConversionKind::registers, {}};
  for (int64_t reg : seq<int64_t>(0, to.numRegisters()))
    conversion.source.push_back(f2::combine(sources->registerOfRegister, reg));
  bool same = from.numRegisters() == to.numRegisters() &&
              all_of(enumerate(conversion.source), [](auto entry) { return entry.value() == int64_t(entry.index()); });
  if (same)
    conversion.kind = ConversionKind::identity;
  return conversion;
}

bool staysInWarp(const LinearLayout &from, const LinearLayout &to) { return findSources(from, to).has_value(); }

std::pair<int64_t, int64_t> shuffleSource(const LinearLayout &from, const LinearLayout &to, int64_t reg, int64_t lane) {
  std::optional<Sources> sources = findSources(from, to);
  assert(sources && "expected layouts that differ within each warp alone");
  int64_t sourceRegister = f2::combine(sources->registerOfRegister, reg) ^ f2::combine(sources->registerOfLane, lane);
  int64_t sourceLane = f2::combine(sources->laneOfRegister, reg) ^ f2::combine(sources->laneOfLane, lane);
  return {sourceRegister, sourceLane};
}

} // namespace fla::tile
