//===- LayoutTest.cpp - layouts against brute force -----------------------===//
//
// Every answer of LinearLayout is compared with one found by listing all places
// of all elements: worked examples from the vendors' documents, then layouts at
// random (seeded). Conversions are run on an emulated register file.
//
//===----------------------------------------------------------------------===//
#include "fla/Dialect/Tile/Layout/LinearLayout.h"

#include "llvm/ADT/StringRef.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <random>
#include <set>
#include <tuple>
#include <vector>

using namespace fla::tile;

namespace {

using Shape = std::vector<int64_t>;
using Key = std::vector<int32_t>;
int failures = 0;
int64_t checks = 0;
std::mt19937 rng(20250117);

void check(bool ok, llvm::StringRef what) {
  ++checks;
  if (!ok && ++failures <= 20)
    std::printf("FAILED: %s\n", what.str().c_str());
}

/// Runs a part and says how much it checked.
void part(const char *name, void (*run)()) {
  int64_t before = checks;
  int failed = failures;
  run();
  std::printf("%s: %lld checks, %d failed\n", name, static_cast<long long>(checks - before), failures - failed);
}

int64_t below(int64_t n) { return static_cast<int64_t>(rng() % static_cast<uint64_t>(n)); }
Key key(const Coordinates &at) { return Key(at.begin(), at.end()); }

int64_t sizeOf(llvm::ArrayRef<int64_t> shape) {
  int64_t n = 1;
  for (int64_t s : shape)
    n *= s;
  return n;
}

/// The element of number `id`, row by row, and back.
Coordinates elementAt(llvm::ArrayRef<int64_t> shape, int64_t id) {
  Coordinates at(shape.size(), 0);
  for (int64_t axis = shape.size() - 1; axis >= 0; --axis) {
    at[axis] = id % shape[axis];
    id /= shape[axis];
  }
  return at;
}
int64_t idOf(llvm::ArrayRef<int64_t> shape, const Coordinates &at) {
  int64_t id = 0;
  for (size_t axis = 0; axis < shape.size(); ++axis)
    id = id * shape[axis] + at[axis];
  return id;
}

template <typename Body> void forEachPlace(const LinearLayout &layout, Body body) {
  for (int64_t reg = 0; reg < layout.numRegisters(); ++reg)
    for (int64_t lane = 0; lane < layout.numLanes(); ++lane)
      for (int64_t warp = 0; warp < layout.numWarps(); ++warp)
        body(reg, lane, warp);
}

//===----------------------------------------------------------------------===//
// Layouts to test
//===----------------------------------------------------------------------===//

LinearLayout mmaAccumulator() { // NVIDIA mma.m16n8: C
  return LinearLayout({16, 8}, {{0, 1}, {8, 0}}, {{0, 2}, {0, 4}, {1, 0}, {2, 0}, {4, 0}}, {});
}
LinearLayout mmaLeft() { // NVIDIA mma.m16n8k16, 16-bit: A
  return LinearLayout({16, 16}, {{0, 1}, {8, 0}, {0, 8}}, {{0, 2}, {0, 4}, {1, 0}, {2, 0}, {4, 0}}, {});
}
LinearLayout mfmaAccumulator() { // AMD v_mfma_f32_16x16x16: D
  return LinearLayout({16, 16}, {{1, 0}, {2, 0}}, {{0, 1}, {0, 2}, {0, 4}, {0, 8}, {4, 0}, {8, 0}}, {});
}
LinearLayout mfmaLeft() { // AMD v_mfma_f32_16x16x16: A
  return LinearLayout({16, 16}, {{0, 1}, {0, 2}}, {{1, 0}, {2, 0}, {4, 0}, {8, 0}, {0, 4}, {0, 8}}, {});
}

Shape randomShape() {
  Shape shape(1 + below(3));
  for (int64_t &size : shape)
    size = int64_t(1) << below(shape.size() == 1 ? 9 : shape.size() == 2 ? 5 : 4);
  return shape;
}

Bases randomBases(const Shape &shape, int64_t count) {
  Bases bases;
  for (int64_t i = 0; i < count; ++i)
    bases.push_back(elementAt(shape, below(4) ? below(sizeOf(shape)) : 0));
  return bases;
}

/// Bases at random: copies are likely, holes possible.
LinearLayout anyLayout() {
  Shape shape = randomShape();
  return LinearLayout(shape, randomBases(shape, below(5)), randomBases(shape, below(6)), randomBases(shape, below(3)));
}

void add(Coordinates &at, const Coordinates &step) {
  for (size_t axis = 0; axis < at.size(); ++axis)
    at[axis] ^= step[axis];
}

/// Adds bases to each other, and some of `others`, at random: the space that all span stays.
void mix(Bases &bases, const Bases &others = {}) {
  for (size_t i = 0; i < bases.size(); ++i) {
    size_t j = below(bases.size());
    if (i != j && below(2))
      add(bases[i], Coordinates(bases[j]));
    if (!others.empty() && below(2))
      add(bases[i], others[below(others.size())]);
  }
}

/// Every element has a place: the tile's bits and a few copies in any order, mixed half of the time.
LinearLayout fullLayout() {
  Shape shape = randomShape();
  Bases bits;
  for (int64_t id = 1; id < sizeOf(shape); id *= 2)
    bits.push_back(elementAt(shape, id));
  if (below(2))
    mix(bits);
  for (int64_t i = below(3); i > 0; --i)
    bits.push_back(elementAt(shape, below(2) ? below(sizeOf(shape)) : 0));
  std::shuffle(bits.begin(), bits.end(), rng);
  auto take = [&](int64_t count) {
    Bases taken;
    for (; count > 0 && !bits.empty(); --count)
      taken.push_back(bits.pop_back_val());
    return taken;
  };
  Bases lanes = take(below(6)), warps = take(below(3));
  return LinearLayout(shape, bits, lanes, warps);
}

//===----------------------------------------------------------------------===//
// Worked examples
//===----------------------------------------------------------------------===//

void examples() {
  LinearLayout mma = mmaAccumulator();
  check(mma.apply(3, 5, 0) == Coordinates({9, 3}), "register 3 of lane 5 of mma.m16n8 is at (9,3)");
  check(mma.str() == "16x8: registers (0,1) (8,0); lanes (0,2) (0,4) (1,0) (2,0) (4,0); warps none", "text of a layout: " + mma.str());
  forEachPlace(mma, [&](int64_t c, int64_t l, int64_t) {
    check(mma.apply(c, l, 0) == Coordinates({int32_t(l / 4 + 8 * (c / 2)), int32_t(2 * (l % 4) + c % 2)}), "mma.m16n8 accumulator");
  });
  LinearLayout mfma = mfmaAccumulator();
  forEachPlace(mfma, [&](int64_t r, int64_t l, int64_t) {
    check(mfma.apply(r, l, 0) == Coordinates({int32_t(4 * (l / 16) + r), int32_t(l % 16)}), "MFMA 16x16 accumulator");
  });
  for (const LinearLayout &layout : {mma, mmaLeft(), mfma, mfmaLeft()})
    check(layout.isSurjective() && layout.isInjective(), "an atom holds each element once");
}

/// KERNELS.md, section 3: when an accumulator is an operand of the next product for free.
void freeOperands() {
  LinearLayout wide = LinearLayout::tiled({16, 16}, mmaAccumulator(), 1, 1);
  check(planConversion(wide, mmaLeft()).kind == ConversionKind::identity, "two mma.m16n8 accumulators are a left operand");
  check(planConversion(wide.transpose({1, 0}), mmaLeft()).kind != ConversionKind::identity, "their transposes are not");
  LinearLayout mfma = mfmaAccumulator();
  check(planConversion(mfma.transpose({1, 0}), mfmaLeft()).kind == ConversionKind::identity, "an MFMA accumulator's transpose is a left operand");
  check(planConversion(mfma, mfmaLeft()).kind != ConversionKind::identity, "the MFMA accumulator is not");
}

//===----------------------------------------------------------------------===//
// One layout
//===----------------------------------------------------------------------===//

/// blocked in closed form: the tile is dealt row by row and starts again when it runs out.
void checkBlocked(const Shape &shape, int64_t width, int64_t lanes, int64_t warps) {
  LinearLayout layout = LinearLayout::blocked(shape, width, lanes, warps);
  std::string name = "blocked " + layout.str();
  int64_t w = shape.empty() ? 1 : std::min(width, shape.back()), size = sizeOf(shape);
  check(layout.numLanes() == lanes && layout.numWarps() == warps, "threads of blocked");
  check(layout.numRegisters() == std::max(w, size / (lanes * warps)), "registers of blocked");
  forEachPlace(layout, [&](int64_t reg, int64_t lane, int64_t warp) {
    int64_t id = reg % w + w * (lane + lanes * (warp + warps * (reg / w)));
    check(idOf(shape, layout.apply(reg, lane, warp)) == id % size, name);
  });
  if (!shape.empty())
    check(layout.contiguous(shape.size() - 1) >= w, name);
  check(layout.isSurjective(), "blocked covers the tile");
}

void blocked() {
  for (int64_t width : {1, 2, 4, 8})
    for (int64_t lanes : {1, 32, 64})
      for (int64_t warps : {1, 2, 4})
        for (const Shape &shape : {Shape{}, {1}, {4}, {64}, {512}, {16, 16}, {4, 2}, {32, 64}, {64, 1}, {2, 8, 16}, {1, 4, 4}})
          checkBlocked(shape, width, lanes, warps);
}

void checkTiled(int64_t rowTiles, int64_t columnTiles, int64_t warps, int64_t rowWarps) {
  LinearLayout layout = LinearLayout::tiled({16 * rowTiles, 8 * columnTiles}, mmaAccumulator(), warps, rowWarps);
  std::string name = "tiled " + layout.str();
  int64_t down = std::min({warps, rowWarps, rowTiles}), across = std::min(warps / down, columnTiles);
  check(layout.numWarps() == warps && layout.numRegisters() == 4 * (rowTiles / down) * (columnTiles / across), "registers of tiled");
  forEachPlace(layout, [&](int64_t reg, int64_t lane, int64_t warp) {
    Coordinates at = mmaAccumulator().apply(reg % 4, lane, 0);
    int64_t perRow = columnTiles / across, tile = reg / 4;
    at[0] += 16 * (warp % down + down * (tile / perRow));
    at[1] += 8 * (warp / down % across + across * (tile % perRow));
    check(layout.apply(reg, lane, warp) == at, name);
  });
}

void tiled() {
  for (int64_t rowTiles : {1, 2, 4})
    for (int64_t columnTiles : {1, 2, 8})
      for (int64_t warps : {1, 4, 8})
        for (int64_t rowWarps : {1, 2, 8})
          checkTiled(rowTiles, columnTiles, warps, rowWarps);
  // A left operand: two warps of different rows, each with a copy for the other columns.
  LinearLayout operand = LinearLayout::tiled({32, 64}, mmaLeft(), Bases{{16, 0}, {0, 0}});
  check(operand.numRegisters() == 8 * 4 && operand.isSurjective() && operand.apply(0, 0, 3) == operand.apply(0, 0, 1), "an operand's copies");
}

/// invert, copies, isSurjective and isInjective against a list of all places.
void checkInverse(const LinearLayout &layout) {
  std::map<Key, std::vector<std::tuple<int64_t, int64_t, int64_t>>> places;
  forEachPlace(layout, [&](int64_t reg, int64_t lane, int64_t warp) { places[key(layout.apply(reg, lane, warp))].push_back({reg, lane, warp}); });
  LinearLayout::Place copies = layout.copies();
  bool injective = true;
  std::string exists = "a place exists: " + layout.str(), smallest = "the smallest place: " + layout.str(), marked = "copies: " + layout.str();
  for (int64_t id = 0; id < sizeOf(layout.shape()); ++id) {
    Coordinates at = elementAt(layout.shape(), id);
    std::optional<LinearLayout::Place> found = layout.invert(at);
    auto listed = places.find(key(at));
    check(found.has_value() == (listed != places.end()), exists);
    if (!found || listed == places.end())
      continue;
    injective &= listed->second.size() == 1;
    auto first = *std::min_element(listed->second.begin(), listed->second.end());
    check(first == std::tuple(found->reg, found->lane, found->warp), smallest);
    for (auto [reg, lane, warp] : listed->second)
      check((std::tuple(reg, lane, warp) == first) == !(reg & copies.reg || lane & copies.lane || warp & copies.warp), marked);
  }
  check(layout.isSurjective() == (int64_t(places.size()) == sizeOf(layout.shape())), "surjective: " + layout.str());
  check(layout.isInjective() == injective, "injective: " + layout.str());
}

/// The longest aligned run of registers that neighbour, in every thread.
int64_t longestRun(const LinearLayout &layout, int64_t axis) {
  for (int64_t run = layout.numRegisters();; run /= 2) {
    bool good = true;
    forEachPlace(layout, [&](int64_t reg, int64_t lane, int64_t warp) {
      Coordinates at = layout.apply(reg - reg % run, lane, warp);
      at[axis] += reg % run;
      good &= layout.apply(reg, lane, warp) == at;
    });
    if (good)
      return run;
  }
}

/// select, dropAxis, transpose, contiguous and withoutCopies.
void checkParts(const LinearLayout &layout) {
  int64_t rank = layout.rank(), axis = below(rank);
  llvm::SmallVector<int64_t> order;
  for (int64_t i = 0; i < rank; ++i)
    order.push_back(i);
  std::shuffle(order.begin(), order.end(), rng);
  LinearLayout dropped = layout.dropAxis(axis), turned = layout.transpose(order), chosen = layout.select({axis});
  std::string name = "dropAxis, select or transpose of " + layout.str();
  forEachPlace(layout, [&](int64_t reg, int64_t lane, int64_t warp) {
    Coordinates at = layout.apply(reg, lane, warp), rest = at, permuted;
    rest.erase(rest.begin() + axis);
    for (int64_t i : order)
      permuted.push_back(at[i]);
    check(dropped.apply(reg, lane, warp) == rest, name);
    check(turned.apply(reg, lane, warp) == permuted, name);
    check(chosen.apply(reg, lane, warp) == Coordinates({at[axis]}), name);
  });
  check((turned == layout) == (turned.str() == layout.str()), "equality of " + layout.str());
  check(layout.contiguous(axis) == longestRun(layout, axis), "contiguous of " + layout.str());
}

void checkWithoutCopies(const LinearLayout &layout) {
  LinearLayout lean = layout.withoutCopies();
  for (int64_t lane = 0; lane < layout.numLanes(); ++lane)
    for (int64_t warp = 0; warp < layout.numWarps(); ++warp) {
      std::set<Key> all, kept;
      for (int64_t reg = 0; reg < layout.numRegisters(); ++reg)
        all.insert(key(layout.apply(reg, lane, warp)));
      for (int64_t reg = 0; reg < lean.numRegisters(); ++reg)
        check(kept.insert(key(lean.apply(reg, lane, warp))).second, "no copies: " + lean.str());
      check(all == kept, "the same elements: " + layout.str());
    }
}

void randomLayouts() {
  for (int i = 0; i < 250; ++i)
    for (const LinearLayout &layout : {anyLayout(), fullLayout()}) {
      checkInverse(layout);
      checkParts(layout);
      checkWithoutCopies(layout);
    }
}

//===----------------------------------------------------------------------===//
// Conversions
//===----------------------------------------------------------------------===//

/// The element that each register of each lane of each warp holds.
struct File {
  explicit File(const LinearLayout &layout) : lanes(layout.numLanes()), warps(layout.numWarps()), ids(layout.numRegisters() * lanes * warps, -1) {}
  int64_t &at(int64_t reg, int64_t lane, int64_t warp) { return ids.at((reg * lanes + lane) * warps + warp); }
  int64_t lanes, warps;
  std::vector<int64_t> ids;
};

File load(const LinearLayout &layout) {
  File file(layout);
  forEachPlace(layout,
               [&](int64_t reg, int64_t lane, int64_t warp) { file.at(reg, lane, warp) = idOf(layout.shape(), layout.apply(reg, lane, warp)); });
  return file;
}

/// Runs a conversion; `from` and `to` say where it goes through shared memory, or whom to ask.
File convert(const Conversion &plan, File held, const LinearLayout &from, const LinearLayout &to) {
  std::vector<int64_t> shared(sizeOf(from.shape()), -1);
  File result(to);
  if (plan.kind == ConversionKind::shared)
    forEachPlace(from, [&](int64_t reg, int64_t lane, int64_t warp) {
      shared.at(idOf(from.shape(), from.apply(reg, lane, warp))) = held.at(reg, lane, warp);
    });
  forEachPlace(to, [&](int64_t reg, int64_t lane, int64_t warp) {
    int64_t &id = result.at(reg, lane, warp);
    if (plan.kind == ConversionKind::identity)
      id = held.at(reg, lane, warp);
    if (plan.kind == ConversionKind::registers)
      id = held.at(plan.source[reg], lane, warp);
    if (plan.kind == ConversionKind::shuffle) {
      auto [sourceRegister, sourceLane] = shuffleSource(from, to, reg, lane);
      id = held.at(sourceRegister, sourceLane, warp);
    }
    if (plan.kind == ConversionKind::shared)
      id = shared.at(idOf(to.shape(), to.apply(reg, lane, warp)));
  });
  return result;
}

bool sameThreads(const LinearLayout &from, const LinearLayout &to) { return from.numLanes() == to.numLanes() && from.numWarps() == to.numWarps(); }

/// Register `have` of `from` and `want` of `to` hold the same element in every thread.
bool sameRegister(const LinearLayout &from, int64_t have, const LinearLayout &to, int64_t want) {
  for (int64_t lane = 0; lane < from.numLanes(); ++lane)
    for (int64_t warp = 0; warp < from.numWarps(); ++warp)
      if (from.apply(have, lane, warp) != to.apply(want, lane, warp))
        return false;
  return true;
}

/// What a (register, lane) holds in each warp.
std::vector<int64_t> inWarps(const LinearLayout &layout, int64_t reg, int64_t lane) {
  std::vector<int64_t> ids;
  for (int64_t warp = 0; warp < layout.numWarps(); ++warp)
    ids.push_back(idOf(layout.shape(), layout.apply(reg, lane, warp)));
  return ids;
}

/// For each (register, lane) of the result some other one holds the same, in every warp.
bool withinWarps(const LinearLayout &from, const LinearLayout &to) {
  std::set<std::vector<int64_t>> held;
  for (int64_t reg = 0; reg < from.numRegisters(); ++reg)
    for (int64_t lane = 0; lane < from.numLanes(); ++lane)
      held.insert(inWarps(from, reg, lane));
  for (int64_t reg = 0; reg < to.numRegisters(); ++reg)
    for (int64_t lane = 0; lane < to.numLanes(); ++lane)
      if (!held.count(inWarps(to, reg, lane)))
        return false;
  return true;
}

/// The cheapest kind that could do, by trying every source.
ConversionKind simplest(const LinearLayout &from, const LinearLayout &to) {
  if (!sameThreads(from, to))
    return ConversionKind::shared;
  bool identity = from.numRegisters() == to.numRegisters(), registers = true;
  for (int64_t want = 0; want < to.numRegisters(); ++want) {
    identity = identity && sameRegister(from, want, to, want);
    bool found = false;
    for (int64_t have = 0; have < from.numRegisters() && !found; ++have)
      found = sameRegister(from, have, to, want);
    registers &= found;
  }
  if (identity)
    return ConversionKind::identity;
  if (registers)
    return ConversionKind::registers;
  return withinWarps(from, to) ? ConversionKind::shuffle : ConversionKind::shared;
}

void checkLinear(const LinearLayout &from, const LinearLayout &to) {
  for (int i = 0; i < 8; ++i) {
    int64_t r = below(to.numRegisters()), s = below(to.numRegisters()), l = below(to.numLanes()), m = below(to.numLanes());
    auto [a, b] = shuffleSource(from, to, r, l);
    auto [c, d] = shuffleSource(from, to, s, m);
    check(shuffleSource(from, to, r ^ s, l ^ m) == std::pair(a ^ c, b ^ d), "linear sources from " + from.str() + " to " + to.str());
  }
}

int kinds[4] = {};
void checkConversion(const LinearLayout &from, const LinearLayout &to) {
  const std::string name = "from " + from.str() + " to " + to.str();
  Conversion plan = planConversion(from, to);
  ++kinds[static_cast<int>(plan.kind)];
  check(convert(plan, load(from), from, to).ids == load(to).ids, "conversion " + name);
  ConversionKind best = simplest(from, to);
  bool tooDear = best == ConversionKind::shuffle && plan.kind == ConversionKind::shared;
  check(plan.kind == best || tooDear, "the simplest conversion " + name);
  if (plan.kind == ConversionKind::shuffle)
    checkLinear(from, to);
}

/// A layout of the same tile that differs from `from` in a way that needs more or less work.
LinearLayout variantOf(const LinearLayout &from) {
  Bases registers = from.registerBases(), lanes = from.laneBases(), warps = from.warpBases();
  switch (below(6)) {
  case 0:
    std::shuffle(registers.begin(), registers.end(), rng);
    break;
  case 1:
    mix(registers);
    break;
  case 2:
    mix(lanes, registers);
    break;
  case 3:
    mix(registers, lanes);
    mix(lanes, registers);
    break;
  case 4:
    mix(warps, lanes);
    break;
  default:
    if (!registers.empty() && !lanes.empty())
      std::swap(registers[below(registers.size())], lanes[below(lanes.size())]);
  }
  return LinearLayout(from.shape(), registers, lanes, warps);
}

void conversions() {
  for (int i = 0; i < 600; ++i) {
    LinearLayout from = fullLayout();
    LinearLayout to = variantOf(from);
    checkConversion(from, to);
    checkConversion(from, from);
    checkConversion(from, from.withoutCopies());
    if (i % 8 == 0) {
      Shape shape(from.shape().begin(), from.shape().end());
      checkConversion(from, LinearLayout::blocked(shape, 1 << below(3), from.numLanes(), from.numWarps()));
      checkConversion(from, LinearLayout(shape, randomBases(shape, below(4)), randomBases(shape, below(5)), randomBases(shape, below(2))));
    }
  }
  for (int i = 0; i < 4; ++i)
    check(kinds[i] > 50, "every kind of conversion is tried");
  std::printf("  %d identical, %d by registers, %d by shuffles, %d by shared memory\n", kinds[0], kinds[1], kinds[2], kinds[3]);
}

/// Which way is taken for the conversions that kernels need.
void choices() {
  // Row sums, held by groups of four lanes, as a vector that lies along the lanes.
  LinearLayout sums = LinearLayout::tiled({64, 64}, mmaAccumulator(), 4, 4).dropAxis(1).withoutCopies();
  check(sums.numRegisters() == 2, "two rows a lane");
  LinearLayout along({64}, {}, {{1}, {2}, {4}, {8}, {0}}, {{16}, {32}});
  checkConversion(sums, along);
  check(planConversion(sums, along).kind == ConversionKind::shuffle, "row sums are turned by shuffles");
  // Every lane holds all: selections alone, each lane from itself.
  LinearLayout whole({4}, {{1}, {2}}, {{0}, {0}, {0}}, {}), spread({4}, {}, {{1}, {2}, {0}}, {});
  check(planConversion(whole, spread).kind == ConversionKind::shuffle, "a lane selects among its registers");
  for (int64_t lane = 0; lane < 8; ++lane)
    check(shuffleSource(whole, spread, 0, lane) == std::pair(lane % 4, lane), "its own lane");
  // A large transpose inside each warp: 32 source registers a register are too many.
  LinearLayout rows({32, 32}, {{0, 1}, {0, 2}, {0, 4}, {0, 8}, {0, 16}}, {{1, 0}, {2, 0}, {4, 0}, {8, 0}, {16, 0}}, {});
  checkConversion(rows, rows.transpose({1, 0}));
  check(planConversion(rows, rows.transpose({1, 0})).kind == ConversionKind::shared, "a large transpose goes through shared memory");
}

//===----------------------------------------------------------------------===//
// Banks
//===----------------------------------------------------------------------===//

/// Counts the words of each bank, group of lanes by group of lanes.
int64_t countConflicts(const std::vector<int64_t> &address, int64_t bytes, int64_t banks) {
  int64_t group = std::max<int64_t>(banks * 4 / std::max<int64_t>(bytes, 4), 1), worst = 0, lanes = address.size();
  for (int64_t first = 0; first < lanes; first += group) {
    std::map<int64_t, std::set<int64_t>> words;
    for (int64_t lane = first; lane < std::min(first + group, lanes); ++lane)
      for (int64_t byte = address[lane]; byte < address[lane] + bytes; byte += std::min<int64_t>(bytes, 4))
        words[byte / 4 % banks].insert(byte / 4);
    for (const auto &[bank, used] : words)
      worst = std::max<int64_t>(worst, used.size());
  }
  return worst;
}

std::vector<int64_t> addressesOf(const std::vector<int64_t> &bits) {
  std::vector<int64_t> address(size_t(1) << bits.size(), 0);
  for (size_t lane = 0; lane < address.size(); ++lane)
    for (size_t bit = 0; bit < bits.size(); ++bit)
      address[lane] ^= lane >> bit & 1 ? bits[bit] : 0;
  return address;
}

void bankConflictsAtRandom() {
  for (int i = 0; i < 4000; ++i) {
    int64_t bytes = int64_t(1) << below(5), banks = below(2) ? 32 : 64;
    std::vector<int64_t> bits(below(7));
    for (int64_t &bit : bits)
      bit = (below(2) ? below(4096) : int64_t(1) << below(12)) / bytes * bytes;
    check(bankConflicts(bits, bytes, banks) == countConflicts(addressesOf(bits), bytes, banks), "bank conflicts at random");
    std::vector<int64_t> any(1 + below(64));
    for (int64_t &address : any)
      address = below(4096) / bytes * bytes;
    check(countBankConflicts(any, bytes, banks) == countConflicts(any, bytes, banks), "bank conflicts of any addresses");
  }
  check(bankConflicts({128, 256, 512, 1024, 2048}, 4) == 32, "a column of 32 floats a row: 32 ways");
  check(bankConflicts({16, 32, 64, 128, 256}, 16) == 1, "16 bytes a lane in a row: none");
}

/// Time of one layout's accesses to a swizzled matrix, counted for every piece of every warp.
int64_t countAccesses(const LinearLayout &layout, const Swizzle &swizzle, int64_t columns, int64_t elementBytes) {
  int64_t piece = std::min(layout.contiguous(1), swizzle.width), worst = 0;
  for (int64_t warp = 0; warp < layout.numWarps(); ++warp)
    for (int64_t reg = 0; reg < layout.numRegisters(); reg += piece) {
      std::vector<int64_t> address;
      for (int64_t lane = 0; lane < layout.numLanes(); ++lane) {
        Coordinates at = layout.apply(reg, lane, warp);
        address.push_back(swizzle.offset(at[0], at[1], columns) * elementBytes);
      }
      worst = std::max(worst, countConflicts(address, piece * elementBytes, 32));
    }
  return worst * (layout.numRegisters() / piece);
}

bool keepsEveryElement(const Swizzle &swizzle, int64_t rows, int64_t columns) {
  std::set<int64_t> offsets;
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t column = 0; column < columns; ++column)
      offsets.insert(swizzle.offset(row, column, columns));
  return int64_t(offsets.size()) == rows * columns && *offsets.begin() == 0 && *offsets.rbegin() == rows * columns - 1;
}

/// The chosen swizzle against every other; returns the time of its accesses per access.
void checkSwizzle(int64_t rows, int64_t columns, int64_t elementBytes, int64_t width, const LinearLayout &write, const LinearLayout &read) {
  Swizzle best = chooseSwizzle(rows, columns, elementBytes, width, write, read);
  check(keepsEveryElement(best, rows, columns), "a swizzle is a permutation");
  auto time = [&](const Swizzle &s) { return countAccesses(write, s, columns, elementBytes) + countAccesses(read, s, columns, elementBytes); };
  int64_t bestTime = time(best);
  for (int64_t mask = 0; mask < columns / best.width; mask = 2 * mask + 1)
    for (int64_t shift = 0; int64_t(1) << shift < rows; ++shift)
      check(bestTime <= time({best.width, mask, shift}), "no swizzle is better, for " + write.str() + " and " + read.str());
}

void swizzles() {
  LinearLayout wide = LinearLayout::blocked({64, 64}, 8, 32, 4), left = LinearLayout::tiled({64, 64}, mmaLeft(), 4, 4);
  Swizzle swizzle = chooseSwizzle(64, 64, 2, 8, wide, left);
  check(swizzle.width == 8 && swizzle.mask == 7 && swizzle.shift == 0, "rows of 128 bytes: the swizzle of 128 bytes");
  check(countAccesses(left, {8, 0, 0}, 64, 2) == 8 * countAccesses(left, swizzle, 64, 2), "which saves 8 ways");
  Swizzle none = chooseSwizzle(64, 64, 2, 8, wide, wide);
  check(none.width == 8 && none.mask == 0 && none.shift == 0, "accesses by whole rows need no swizzle");
  // Rows of 64 bytes: two rows share the 32 banks, so the second bit of the row counts.
  Swizzle narrow = chooseSwizzle(64, 32, 2, 8, LinearLayout::blocked({64, 32}, 8, 32, 4), LinearLayout::tiled({64, 32}, mmaLeft(), 4, 4));
  check(narrow.mask == 3 && narrow.shift == 1, "rows of 64 bytes: the swizzle of 64 bytes");
  for (int64_t columns : {16, 32, 64, 128})
    for (int64_t bytes : {2, 4}) {
      LinearLayout write = LinearLayout::blocked({32, columns}, 4, 32, 2), turned = LinearLayout::blocked({columns, 32}, 4, 32, 2).transpose({1, 0});
      checkSwizzle(32, columns, bytes, 16 / bytes, write, LinearLayout::tiled({32, columns}, mmaLeft(), 2, 2));
      checkSwizzle(32, columns, bytes, 4, write, turned);
      checkSwizzle(32, columns, bytes, 1, write, turned);
      checkSwizzle(32, columns, bytes, 4, LinearLayout::tiled({32, columns}, mfmaAccumulator(), 2, 2),
                   LinearLayout::blocked({32, columns}, 8, 64, 2));
    }
}

} // namespace

int main() {
  part("examples of the vendors' atoms", examples);
  part("accumulators that are operands", freeOperands);
  part("blocked layouts", blocked);
  part("tiled layouts", tiled);
  part("layouts at random", randomLayouts);
  part("conversions on a register file", conversions);
  part("choice of a conversion", choices);
  part("bank conflicts", bankConflictsAtRandom);
  part("swizzles", swizzles);
  return failures ? 1 : 0;
}
