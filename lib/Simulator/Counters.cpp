//===- Counters.cpp - bank conflicts and sectors --------------------------===//
#include "ThreadBlock.h"

#include <algorithm>

using namespace fla::sim;

//===----------------------------------------------------------------------===//
// Bank conflicts
//===----------------------------------------------------------------------===//

// Lanes served together are as many neighbours as the banks can serve at once,
// but CDNA's reads of 16 bytes pair four lanes with four others (ROCm blogs,
// "Avoiding LDS bank conflicts"): 0-3 with 20-23, 4-7 with 16-19, 8-11 with
// 28-31, 12-15 with 24-27, and so on in the upper half.
static unsigned laneOf(unsigned phase, unsigned i, unsigned perPhase, bool pairs) {
  if (!pairs)
    return phase * perPhase + i;
  static constexpr uint8_t second[4] = {20, 16, 28, 24};
  unsigned half = phase / 4 * 32, quad = phase % 4;
  return half + (i < 4 ? quad * 4 + i : second[quad] + i - 4);
}

/// Most different words that one bank must give at once.
static unsigned countWays(llvm::MutableArrayRef<uint32_t> words, unsigned banks) {
  llvm::sort(words);
  uint8_t uses[128] = {};
  unsigned ways = 0;
  for (size_t i = 0; i < words.size(); ++i)
    if (i == 0 || words[i] != words[i - 1])
      ways = std::max<unsigned>(ways, ++uses[words[i] % banks]);
  return ways;
}

/// Whether no bank has to give two words: the usual case, found quickly.
static bool isFree(llvm::ArrayRef<uint32_t> words, unsigned banks) {
  uint32_t first[128];
  uint64_t seen[2] = {};
  for (uint32_t word : words) {
    unsigned bank = word % banks;
    uint64_t bit = uint64_t(1) << bank % 64;
    if (!(seen[bank / 64] & bit))
      first[bank] = word;
    else if (first[bank] != word)
      return false;
    seen[bank / 64] |= bit;
  }
  return true;
}

static void count(Recorder::Shared &counter, llvm::ArrayRef<uint64_t> addresses, unsigned bytes, unsigned banks) {
  llvm::SmallVector<uint32_t, 64> wanted;
  for (uint64_t address : addresses)
    for (unsigned word = 0; word < std::max(1u, bytes / 4); ++word)
      wanted.push_back(address / 4 + word);
  unsigned ways = isFree(wanted, banks) ? 1 : countWays(wanted, banks);
  ++counter.phases;
  counter.cycles += ways;
  counter.ways = std::max(counter.ways, ways);
}

static void add(Recorder::Shared &sum, const Recorder::Shared &more) {
  sum.phases += more.phases;
  sum.cycles += more.cycles;
  sum.ways = std::max(sum.ways, more.ways);
}

void ThreadBlock::countPhase(uint32_t site, llvm::ArrayRef<uint64_t> addresses, unsigned bytes) {
  count(recorder.shared[site], addresses, bytes, options.banks);
}

//===----------------------------------------------------------------------===//
// Sectors
//===----------------------------------------------------------------------===//

static Recorder::Global countSectors(llvm::SmallVectorImpl<uint64_t> &starts, unsigned bytes, unsigned sectorBytes) {
  std::sort(starts.begin(), starts.end());
  Recorder::Global counter{1, 0, 0};
  uint64_t distinct = 0, covered = 0, next = 0; // what lies below is counted already
  for (uint64_t start : starts) {
    uint64_t from = std::max(start, covered), to = start + bytes;
    distinct += to > from ? to - from : 0;
    covered = std::max(covered, to);
    uint64_t first = std::max(start / sectorBytes, next), last = (to - 1) / sectorBytes;
    counter.sectors += last >= first ? last - first + 1 : 0;
    next = std::max(next, last + 1);
  }
  counter.minimal = (distinct + sectorBytes - 1) / sectorBytes;
  return counter;
}

static void add(Recorder::Global &sum, const Recorder::Global &more) {
  sum.requests += more.requests;
  sum.sectors += more.sectors;
  sum.minimal += more.minimal;
}

//===----------------------------------------------------------------------===//
// By warps
//===----------------------------------------------------------------------===//

bool ThreadBlock::matches(Recorder::Pattern &pattern, unsigned warp, const uint64_t *addresses, unsigned unit) const {
  constexpr uint64_t absent = ~uint64_t(0);
  std::array<uint64_t, 64> offsets;
  unsigned first = warp * lanes, last = warpEnd(warp), lead = first;
  while (!isActive(lead))
    ++lead;
  for (unsigned lane = 0; lane < lanes; ++lane)
    offsets[lane] = first + lane < last && isActive(first + lane) ? addresses[first + lane] - addresses[lead] : absent;
  bool same = pattern.rest == addresses[lead] % unit && std::equal(offsets.begin(), offsets.begin() + lanes, pattern.offsets.begin());
  pattern.rest = addresses[lead] % unit;
  pattern.offsets = offsets;
  return same;
}

// Moving all addresses by whole words moves them all by as many banks.
void ThreadBlock::countShared(uint32_t site, const uint64_t *addresses, unsigned bytes, bool reads) {
  if (!options.counters)
    return;
  unsigned perPhase = std::clamp(options.banks / std::max(1u, bytes / 4), 1u, std::min(32u, lanes));
  bool pairs = reads && bytes == 16 && lanes == 64 && options.banks == 32;
  Recorder::Pattern &pattern = recorder.sharedPatterns[site];
  for (unsigned warp = begin() / lanes; warp * lanes < end(); ++warp) {
    if (presence(warp) == Presence::None)
      continue;
    if (!matches(pattern, warp, addresses, 4)) {
      pattern.shared = {};
      for (unsigned phase = 0; phase < lanes / perPhase; ++phase) {
        llvm::SmallVector<uint64_t, 32> served;
        for (unsigned i = 0; i < perPhase; ++i)
          if (unsigned t = warp * lanes + laneOf(phase, i, perPhase, pairs); t < threads && isActive(t))
            served.push_back(addresses[t]);
        if (!served.empty())
          count(pattern.shared, served, bytes, options.banks);
      }
    }
    add(recorder.shared[site], pattern.shared);
  }
}

void ThreadBlock::countGlobal(uint32_t site, const uint64_t *addresses, unsigned bytes) {
  if (!options.counters)
    return;
  Recorder::Pattern &pattern = recorder.globalPatterns[site];
  for (unsigned warp = begin() / lanes; warp * lanes < end(); ++warp) {
    if (presence(warp) == Presence::None)
      continue;
    if (!matches(pattern, warp, addresses, options.sectorBytes)) {
      llvm::SmallVector<uint64_t, 64> starts;
      for (unsigned t = warp * lanes; t < warpEnd(warp); ++t)
        if (isActive(t))
          starts.push_back(addresses[t]);
      pattern.global = countSectors(starts, bytes, options.sectorBytes);
    }
    add(recorder.global[site], pattern.global);
  }
}
