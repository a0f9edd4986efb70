//===- ThreadBlock.cpp - running steps under masks ------------------------===//
#include "ThreadBlock.h"

#include <algorithm>
#include <numeric>

using namespace fla::sim;

void Mask::recount() {
  count = std::accumulate(active.begin(), active.end(), 0u);
  begin = std::find(active.begin(), active.end(), 1) - active.begin();
  end = active.rend() - std::find(active.rbegin(), active.rend(), 1);
  if (count == 0)
    begin = end = 0;
}

ThreadBlock::ThreadBlock(const Program &program, Memory &memory, Recorder &recorder, const SimulateOptions &options, unsigned threads,
                         size_t sharedBytes, int64_t gridBlocks)
    : program(program), memory(memory), recorder(recorder), options(options), threads(threads), lanes(options.lanes), gridBlocks(gridBlocks),
      shared(sharedBytes, threads, options.lanes), registers(size_t(program.slots) * threads), queues(threads) {
  everyone.active.assign(threads, 1);
  everyone.recount();
  mask = &everyone;
  for (auto [slot, value] : program.constants)
    std::fill_n(this->slot(slot), threads, value);
}

void ThreadBlock::run(int64_t block, llvm::ArrayRef<Argument> arguments) {
  id = block;
  executed = epoch = 0;
  gaveUp = touchedSinceRelease = awaitsAcquire = false;
  shared.reset();
  std::fill(queues.begin(), queues.end(), AsyncQueue());
  for (auto [slot, argument] : llvm::zip_equal(program.parameters, arguments))
    std::fill_n(this->slot(slot), threads, argument.bits);
  run(program.steps);
  recorder.operations += executed;
}

void ThreadBlock::run(const Steps &steps) {
  executed += steps.size() * mask->count;
  for (const Step &step : steps) {
    if (gaveUp)
      return;
    step(*this);
  }
}

void ThreadBlock::run(const Steps &steps, const Mask &only) {
  if (only.count == 0)
    return;
  const Mask *outer = std::exchange(mask, only.count == mask->count ? mask : &only);
  run(steps);
  mask = outer;
}

void ThreadBlock::loop(const Steps &body, Slot inside, llvm::function_ref<void()> test, llvm::function_ref<void()> advance, uint32_t site) {
  const Mask *outer = mask;
  Mask narrowed;
  while (!gaveUp) {
    test();
    Mask next = where(inside, 1);
    if (next.count == 0)
      break;
    if (next.count < mask->count) {
      narrowed = std::move(next);
      mask = &narrowed;
    }
    run(body);
    advance();
    if (options.operationLimit && executed > options.operationLimit && !gaveUp) {
      error(ErrorKind::Limit, site, mask->begin, "the block executed more than " + llvm::Twine(options.operationLimit) + " operations");
      gaveUp = true;
    }
  }
  mask = outer;
}

Mask ThreadBlock::where(Slot condition, uint64_t value) const {
  Mask result;
  result.active.assign(threads, 0);
  const uint64_t *is = registers.data() + size_t(condition) * threads;
  for (unsigned t = begin(); t < end(); ++t)
    result.active[t] = mask->active[t] && is[t] == value;
  result.recount();
  return result;
}

ThreadBlock::Presence ThreadBlock::presence(unsigned warp) const {
  if (allActive())
    return Presence::All;
  unsigned first = warp * lanes, size = warpEnd(warp) - first;
  unsigned active = std::accumulate(mask->active.begin() + first, mask->active.begin() + first + size, 0u);
  return active == 0 ? Presence::None : active == size ? Presence::All : Presence::Some;
}

bool ThreadBlock::isWhole(unsigned warp, uint32_t site) {
  unsigned first = warp * lanes;
  switch (presence(warp)) {
  case Presence::None:
    return false;
  case Presence::Some:
    error(ErrorKind::Divergence, site, first, "expected all lanes of warp " + llvm::Twine(warp) + ", some are not active");
    return true;
  case Presence::All:
    break;
  }
  if (warpEnd(warp) - first == lanes)
    return true;
  error(ErrorKind::Divergence, site, first, "expected " + llvm::Twine(lanes) + " lanes in warp " + llvm::Twine(warp) + ", the block has fewer");
  return false;
}

void ThreadBlock::barrier(uint32_t site) {
  if (!allActive()) {
    unsigned absent = std::find(mask->active.begin(), mask->active.end(), 0) - mask->active.begin();
    error(ErrorKind::Divergence, site, absent,
          llvm::Twine(threads - mask->count) + " of " + llvm::Twine(threads) + " threads do not reach the barrier");
  }
  shared.syncBlock();
  ++epoch;
}

void ThreadBlock::warpBarrier(uint32_t site) {
  for (unsigned warp = 0; warp < warps(); ++warp) {
    Presence present = presence(warp);
    if (present == Presence::Some)
      error(ErrorKind::Divergence, site, warp * lanes, "not all lanes of warp " + llvm::Twine(warp) + " reach the warp's barrier");
    if (present != Presence::None)
      shared.syncWarp(warp);
  }
}
