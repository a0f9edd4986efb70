//===- SharedMemory.cpp - who touched which byte when ---------------------===//
#include "SharedMemory.h"

#include <algorithm>
#include <bit>
#include <cstring>

using namespace fla::sim;

// Not a number in every format, so that what was never written spoils results.
static constexpr uint8_t poison = 0xff;

SharedMemory::SharedMemory(size_t size, unsigned threads, unsigned lanes)
    : bytes(size), wordShadows((size + 3) / 4), byteShadows(wordShadows.size() * 4), isSplit(wordShadows.size()),
      warpSync((threads + lanes - 1) / lanes), laneBits(std::countr_zero(lanes)) {
  reset();
}

void SharedMemory::reset() {
  std::fill(bytes.begin(), bytes.end(), poison);
  std::fill(wordShadows.begin(), wordShadows.end(), Shadow());
  std::fill(isSplit.begin(), isSplit.end(), 0);
  std::fill(warpSync.begin(), warpSync.end(), 0);
  blockSync = stamp = 0;
}

// All that came before is ordered now: stamps that run out may start again.
void SharedMemory::syncBlock() {
  blockSync = ++stamp;
  if (stamp < lastStamp)
    return;
  for (auto *shadows : {&wordShadows, &byteShadows})
    for (Shadow &shadow : *shadows)
      shadow.write = shadow.read = shadow.otherRead = 0;
  std::fill(warpSync.begin(), warpSync.end(), 0);
  blockSync = stamp = 0;
}

//===----------------------------------------------------------------------===//
// Order
//===----------------------------------------------------------------------===//

bool SharedMemory::unordered(Visit earlier, unsigned thread) const {
  if (!earlier || stampOf(earlier) < blockSync)
    return false;
  unsigned other = threadOf(earlier);
  if (other == thread)
    return false;
  return warpOf(other) != warpOf(thread) || stampOf(earlier) >= warpSync[warpOf(thread)];
}

bool SharedMemory::readersUnordered(const Shadow &shadow, unsigned thread) const {
  if (unordered(shadow.read, thread) || unordered(shadow.otherRead, thread))
    return true;
  unsigned warp = warpOf(thread);
  return shadow.manyReaders && warpOf(threadOf(shadow.read)) == warp && stampOf(shadow.read) >= lastSync(warp);
}

void SharedMemory::noteRead(Shadow &shadow, unsigned thread) {
  Visit now = visit(thread);
  if (shadow.read == now)
    return;
  if (!shadow.read) {
    shadow.manyReaders = false;
  } else if (unsigned warp = warpOf(thread); warpOf(threadOf(shadow.read)) == warp) {
    bool current = stampOf(shadow.read) >= lastSync(warp);
    shadow.manyReaders = current && (shadow.manyReaders || threadOf(shadow.read) != thread);
  } else {
    shadow.otherRead = shadow.read;
    shadow.manyReaders = false;
  }
  shadow.read = now;
}

Fault SharedMemory::blame(Fault fault, uint32_t byte, Visit by, uint32_t site) {
  faultByte = byte;
  faultThread = by ? threadOf(by) : 0;
  faultSite = site;
  return fault;
}

Fault SharedMemory::checkRead(const Shadow &shadow, uint32_t byte, unsigned thread) {
  if (shadow.pending)
    return blame(Fault::Pending, byte, shadow.write, shadow.site);
  if (!shadow.initialised)
    return blame(Fault::Uninitialised, byte, 0, 0);
  if (unordered(shadow.write, thread))
    return blame(Fault::ReadAfterWrite, byte, shadow.write, shadow.site);
  return Fault::None;
}

Fault SharedMemory::checkWrite(const Shadow &shadow, uint32_t byte, unsigned thread) {
  if (shadow.pending)
    return blame(Fault::Pending, byte, shadow.write, shadow.site);
  if (unordered(shadow.write, thread))
    return blame(Fault::WriteAfterWrite, byte, shadow.write, shadow.site);
  if (readersUnordered(shadow, thread))
    return blame(Fault::WriteAfterRead, byte, unordered(shadow.otherRead, thread) ? shadow.otherRead : shadow.read, 0);
  return Fault::None;
}

//===----------------------------------------------------------------------===//
// Accesses
//===----------------------------------------------------------------------===//

template <class F> void SharedMemory::forShadows(uint32_t at, unsigned count, F f) {
  for (uint32_t end = at + count; at < end;) {
    uint32_t word = at / 4, stop = std::min(end, word * 4 + 4);
    if (!isSplit[word] && stop - at == 4) {
      f(wordShadows[word], at, 4);
      at = stop;
      continue;
    }
    if (!isSplit[word]) {
      std::fill_n(byteShadows.begin() + word * 4, 4, wordShadows[word]);
      isSplit[word] = 1;
    }
    for (; at < stop; ++at)
      f(byteShadows[at], at, 1);
  }
}

template <class F> void SharedMemory::setShadows(uint32_t at, unsigned count, F f) {
  uint32_t end = at + count;
  for (uint32_t word = (at + 3) / 4; word * 4 + 4 <= end; ++word)
    if (isSplit[word]) {
      wordShadows[word] = byteShadows[word * 4];
      isSplit[word] = 0;
    }
  forShadows(at, count, [&](Shadow &shadow, uint32_t, unsigned) { f(shadow); });
}

Fault SharedMemory::read(uint32_t at, unsigned count, unsigned thread) {
  Fault fault = Fault::None;
  forShadows(at, count, [&](Shadow &shadow, uint32_t byte, unsigned) {
    if (fault == Fault::None)
      fault = checkRead(shadow, byte, thread);
    noteRead(shadow, thread);
  });
  return fault;
}

Fault SharedMemory::write(uint32_t at, unsigned count, const uint8_t *from, unsigned thread, uint32_t site) {
  Fault fault = Fault::None;
  forShadows(at, count, [&](const Shadow &shadow, uint32_t byte, unsigned) {
    if (fault == Fault::None)
      fault = checkWrite(shadow, byte, thread);
  });
  std::memcpy(bytes.data() + at, from, count);
  setShadows(at, count, [&, now = visit(thread)](Shadow &shadow) { shadow = {now, 0, 0, site, true, false, shadow.pending}; });
  return fault;
}

Fault SharedMemory::beginCopy(uint32_t at, unsigned count, unsigned thread, uint32_t site) {
  Fault fault = Fault::None;
  forShadows(at, count, [&](const Shadow &shadow, uint32_t byte, unsigned) {
    if (fault == Fault::None)
      fault = checkWrite(shadow, byte, thread);
  });
  std::memset(bytes.data() + at, poison, count);
  setShadows(at, count, [&, now = visit(thread)](Shadow &shadow) { shadow = {now, 0, 0, site, false, false, uint8_t(shadow.pending + 1)}; });
  return fault;
}

void SharedMemory::landCopy(uint32_t at, unsigned count, const uint8_t *from, unsigned thread, uint32_t site) {
  std::memcpy(bytes.data() + at, from, count);
  setShadows(at, count,
             [&, now = visit(thread)](Shadow &shadow) { shadow = {now, 0, 0, site, true, false, uint8_t(shadow.pending - (shadow.pending != 0))}; });
}
