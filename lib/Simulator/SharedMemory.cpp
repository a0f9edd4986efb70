//===- SharedMemory.cpp - who touched which byte when ---------------------===//
#include "SharedMemory.h"

#include <algorithm>
#include <cstring>

using namespace fla::sim;

// Not a number in every format, so that what was never written spoils results.
static constexpr uint8_t poison = 0xff;

SharedMemory::SharedMemory(size_t size, unsigned threads, unsigned lanes)
    : bytes(size), shadows(size), warpSync((threads + lanes - 1) / lanes), lanes(lanes) {
  reset();
}

void SharedMemory::reset() {
  std::fill(bytes.begin(), bytes.end(), poison);
  std::fill(shadows.begin(), shadows.end(), Shadow());
  std::fill(warpSync.begin(), warpSync.end(), 0);
  blockSync = stamp = 0;
}

// All that came before is ordered now: stamps that run out may start again.
void SharedMemory::syncBlock() {
  blockSync = ++stamp;
  if (stamp < lastStamp)
    return;
  for (Shadow &shadow : shadows)
    shadow.write = shadow.read = shadow.otherRead = 0;
  std::fill(warpSync.begin(), warpSync.end(), 0);
  blockSync = stamp = 0;
}

bool SharedMemory::unordered(Visit earlier, unsigned thread) const {
  if (!earlier)
    return false;
  unsigned other = threadOf(earlier);
  if (other == thread)
    return false;
  uint32_t sync = other / lanes == thread / lanes ? lastSync(thread / lanes) : blockSync;
  return stampOf(earlier) >= sync;
}

bool SharedMemory::readersUnordered(const Shadow &shadow, unsigned thread) const {
  if (unordered(shadow.read, thread) || unordered(shadow.otherRead, thread))
    return true;
  unsigned warp = thread / lanes;
  return shadow.manyReaders && threadOf(shadow.read) / lanes == warp && stampOf(shadow.read) >= lastSync(warp);
}

void SharedMemory::noteRead(Shadow &shadow, unsigned thread) {
  Visit now = visit(thread);
  if (shadow.read == now)
    return;
  if (!shadow.read) {
    shadow.manyReaders = false;
  } else if (unsigned warp = thread / lanes; threadOf(shadow.read) / lanes == warp) {
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

Fault SharedMemory::read(uint32_t at, unsigned count, unsigned thread) {
  Fault fault = Fault::None;
  for (uint32_t i = at; i < at + count; ++i) {
    Shadow &shadow = shadows[i];
    if (fault == Fault::None) {
      if (shadow.pending)
        fault = blame(Fault::Pending, i, shadow.write, shadow.site);
      else if (!shadow.initialised)
        fault = blame(Fault::Uninitialised, i, 0, 0);
      else if (unordered(shadow.write, thread))
        fault = blame(Fault::ReadAfterWrite, i, shadow.write, shadow.site);
    }
    noteRead(shadow, thread);
  }
  return fault;
}

Fault SharedMemory::checkWrite(uint32_t at, unsigned count, const uint8_t *from, unsigned thread, uint32_t site) {
  for (uint32_t i = at; i < at + count; ++i) {
    const Shadow &shadow = shadows[i];
    if (shadow.pending)
      return blame(Fault::Pending, i, shadow.write, shadow.site);
    bool agrees = from && shadow.site == site && stampOf(shadow.write) == stamp && bytes[i] == from[i - at];
    if (!agrees && unordered(shadow.write, thread))
      return blame(Fault::WriteAfterWrite, i, shadow.write, shadow.site);
    if (readersUnordered(shadow, thread))
      return blame(Fault::WriteAfterRead, i, unordered(shadow.otherRead, thread) ? shadow.otherRead : shadow.read, 0);
  }
  return Fault::None;
}

Fault SharedMemory::write(uint32_t at, unsigned count, const uint8_t *from, unsigned thread, uint32_t site) {
  Fault fault = checkWrite(at, count, from, thread, site);
  std::memcpy(bytes.data() + at, from, count);
  for (uint32_t i = at; i < at + count; ++i) {
    shadows[i].write = visit(thread);
    shadows[i].site = site;
    shadows[i].initialised = true;
  }
  return fault;
}

Fault SharedMemory::beginCopy(uint32_t at, unsigned count, unsigned thread, uint32_t site) {
  Fault fault = checkWrite(at, count, nullptr, thread, site);
  std::memset(bytes.data() + at, poison, count);
  for (uint32_t i = at; i < at + count; ++i) {
    shadows[i].write = visit(thread);
    shadows[i].site = site;
    ++shadows[i].pending;
  }
  return fault;
}

void SharedMemory::landCopy(uint32_t at, unsigned count, const uint8_t *from, unsigned thread, uint32_t site) {
  std::memcpy(bytes.data() + at, from, count);
  for (uint32_t i = at; i < at + count; ++i) {
    Shadow &shadow = shadows[i];
    shadow.write = visit(thread);
    shadow.site = site;
    shadow.initialised = true;
    shadow.pending -= shadow.pending != 0;
  }
}
