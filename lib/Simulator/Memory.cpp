//===- Memory.cpp - global and shared memory, every access checked --------===//
#include "Buffers.h"
#include "ThreadBlock.h"

#include <cstring>

using namespace fla::sim;

//===----------------------------------------------------------------------===//
// Buffers
//===----------------------------------------------------------------------===//

Memory::Memory() = default;
Memory::~Memory() = default;

uint64_t Memory::add(void *data, size_t bytes, llvm::StringRef name, Access access, Content content) {
  auto buffer = std::make_unique<Buffer>();
  buffer->data = static_cast<uint8_t *>(data);
  buffer->bytes = bytes;
  buffer->address = (uint64_t(buffers.size() + 1) << bufferBits) + bufferStart;
  buffer->name = name.str();
  buffer->writable = access == ReadWrite;
  if (content == Uninitialised)
    buffer->initialised.assign(bytes, 0);
  if (buffer->writable)
    buffer->writers = std::make_unique<std::atomic<uint64_t>[]>(bytes);
  buffers.push_back(std::move(buffer));
  return buffers.back()->address;
}

Memory::Buffer *Memory::find(uint64_t address) const {
  uint64_t index = (address >> bufferBits) - 1;
  return index < buffers.size() ? buffers[index].get() : nullptr;
}

size_t Memory::countInitialised(uint64_t address, size_t bytes) const {
  const Buffer *buffer = find(address);
  if (!buffer || buffer->initialised.empty())
    return buffer ? bytes : 0;
  auto first = buffer->initialised.begin() + (address - buffer->address);
  return std::count(first, first + bytes, 1);
}

void Memory::launchEnds() {
  for (auto &buffer : buffers)
    for (size_t i = 0; buffer->writers && i < buffer->bytes; ++i)
      buffer->writers[i].store(0, std::memory_order_relaxed);
}

//===----------------------------------------------------------------------===//
// Global accesses
//===----------------------------------------------------------------------===//

static std::string describe(const Memory::Buffer &buffer, uint64_t at, unsigned bytes, bool writes) {
  std::string text;
  llvm::raw_string_ostream out(text);
  int64_t offset = static_cast<int64_t>(at - buffer.address);
  out << (writes ? "writes " : "reads ") << bytes << " bytes at offset " << offset << " of '" << buffer.name << "', which has " << buffer.bytes
      << " bytes";
  return text;
}

Memory::Buffer *ThreadBlock::checkGlobal(uint64_t at, unsigned bytes, unsigned alignment, unsigned thread, uint32_t site, bool writes) {
  Memory::Buffer *buffer = memory.find(at);
  if (!buffer) {
    error(ErrorKind::OutOfBounds, site, thread, llvm::Twine("access to address ") + llvm::Twine(at) + ", which belongs to no buffer");
    return nullptr;
  }
  uint64_t offset = at - buffer->address;
  if (offset > buffer->bytes || bytes > buffer->bytes - offset) {
    error(ErrorKind::OutOfBounds, site, thread, describe(*buffer, at, bytes, writes));
    return nullptr;
  }
  if (writes && !buffer->writable) {
    error(ErrorKind::ReadOnly, site, thread, describe(*buffer, at, bytes, writes) + " and is read-only");
    return nullptr;
  }
  if (at % alignment) // buffers themselves are aligned as a driver's allocations are
    error(ErrorKind::Misaligned, site, thread, describe(*buffer, at, bytes, writes) + ", expected a multiple of " + llvm::Twine(alignment));
  return buffer;
}

/// Whether a write of this launch is not ordered before an access of `thread` now.
static bool unordered(uint64_t writer, uint64_t now) {
  if (!writer || (writer & 0x7ff) == (now & 0x7ff))
    return writer && writer >> 43 != now >> 43;
  return writer >> 11 == now >> 11 || writer >> 43 != now >> 43;
}

static std::string raceText(const Memory::Buffer &buffer, uint64_t offset, uint64_t writer, bool writes) {
  std::string text;
  llvm::raw_string_ostream out(text);
  out << (writes ? "writes" : "reads") << " byte " << offset << " of '" << buffer.name << "', which thread " << (writer & 0x7ff) - 1 << " of block "
      << (writer >> 43) << " wrote and no barrier orders";
  return text;
}

const uint8_t *ThreadBlock::readGlobal(uint64_t at, unsigned bytes, unsigned alignment, unsigned thread, uint32_t site) {
  Memory::Buffer *buffer = checkGlobal(at, bytes, alignment, thread, site, false);
  if (!buffer)
    return nullptr;
  uint64_t offset = at - buffer->address;
  if (!options.races)
    return buffer->data + offset;
  if (!buffer->initialised.empty())
    for (uint64_t i = offset; i < offset + bytes; ++i)
      if (!buffer->initialised[i]) {
        error(ErrorKind::Uninitialised, site, thread, describe(*buffer, at, bytes, false) + "; nobody wrote byte " + llvm::Twine(i));
        break;
      }
  uint64_t now = Memory::Buffer::writer(id, epoch, thread);
  for (uint64_t i = offset; buffer->writers && i < offset + bytes; ++i)
    if (uint64_t writer = buffer->writers[i].load(std::memory_order_relaxed); unordered(writer, now)) {
      error(ErrorKind::Race, site, thread, raceText(*buffer, i, writer, false));
      break;
    }
  return buffer->data + offset;
}

bool ThreadBlock::writeGlobal(uint64_t at, unsigned bytes, unsigned alignment, unsigned thread, uint32_t site, const uint8_t *from) {
  Memory::Buffer *buffer = checkGlobal(at, bytes, alignment, thread, site, true);
  if (!buffer)
    return false;
  uint64_t offset = at - buffer->address;
  uint64_t now = Memory::Buffer::writer(id, epoch, thread);
  bool reported = !options.races;
  for (uint64_t i = offset; i < offset + bytes; ++i) {
    uint64_t writer = buffer->writers[i].load(std::memory_order_relaxed);
    buffer->writers[i].store(now, std::memory_order_relaxed);
    if (!reported && unordered(writer, now)) {
      error(ErrorKind::Race, site, thread, raceText(*buffer, i, writer, true));
      reported = true;
    }
  }
  std::memcpy(buffer->data + offset, from, bytes);
  if (!buffer->initialised.empty())
    std::fill_n(buffer->initialised.begin() + offset, bytes, 1);
  return true;
}

//===----------------------------------------------------------------------===//
// Shared accesses
//===----------------------------------------------------------------------===//

bool ThreadBlock::checkShared(uint32_t at, unsigned bytes, unsigned alignment, unsigned thread, uint32_t site, bool writes) {
  if (awaitsAcquire)
    error(ErrorKind::MissingWait, site, thread, "expected an acquire fence between the last barrier and this access to shared memory");
  awaitsAcquire = false;
  touchedSinceRelease = true;
  auto text = [&] {
    return (llvm::Twine(writes ? "writes " : "reads ") + llvm::Twine(bytes) + " bytes at offset " + llvm::Twine(static_cast<int32_t>(at)) +
            " of shared memory, which has " + llvm::Twine(shared.size()) + " bytes")
        .str();
  };
  if (at > shared.size() || bytes > shared.size() - at) {
    error(ErrorKind::OutOfBounds, site, thread, text());
    return false;
  }
  if (at % alignment)
    error(ErrorKind::Misaligned, site, thread, text() + ", expected a multiple of " + llvm::Twine(alignment));
  return true;
}

void ThreadBlock::sharedFault(Fault fault, unsigned thread, uint32_t site, bool writes) {
  std::string text;
  llvm::raw_string_ostream out(text);
  out << (writes ? "writes" : "reads") << " byte " << shared.faultByte << " of shared memory, which ";
  std::string other = "thread " + std::to_string(shared.faultThread);
  std::string where = " (at " + locationOf(program.sites[shared.faultSite]) + ")";
  switch (fault) {
  case Fault::None:
    return;
  case Fault::Pending:
    out << "an asynchronous copy of " << other << where << " still fills";
    return error(ErrorKind::MissingWait, site, thread, text);
  case Fault::Uninitialised:
    out << "nobody wrote";
    return error(ErrorKind::Uninitialised, site, thread, text);
  case Fault::WriteAfterWrite:
  case Fault::ReadAfterWrite:
    out << other << where << " wrote since the last barrier";
    return error(ErrorKind::Race, site, thread, text);
  case Fault::WriteAfterRead:
    out << other << " read since the last barrier";
    return error(ErrorKind::Race, site, thread, text);
  }
}

const uint8_t *ThreadBlock::readShared(uint32_t at, unsigned bytes, unsigned alignment, unsigned thread, uint32_t site) {
  if (!checkShared(at, bytes, alignment, thread, site, false))
    return nullptr;
  if (options.races)
    if (Fault fault = shared.read(at, bytes, thread); fault != Fault::None)
      sharedFault(fault, thread, site, false);
  return shared.data() + at;
}

bool ThreadBlock::writeShared(uint32_t at, unsigned bytes, unsigned alignment, unsigned thread, uint32_t site, const uint8_t *from) {
  if (!checkShared(at, bytes, alignment, thread, site, true))
    return false;
  if (!options.races) {
    std::memcpy(shared.data() + at, from, bytes);
  } else if (Fault fault = shared.write(at, bytes, from, thread, site); fault != Fault::None) {
    sharedFault(fault, thread, site, true);
  }
  return true;
}

//===----------------------------------------------------------------------===//
// Asynchronous copies
//===----------------------------------------------------------------------===//

void ThreadBlock::beginCopy(const AsyncCopy &copy, unsigned thread) {
  if (!checkShared(copy.to, copy.bytes, copy.bytes, thread, copy.site, true))
    return;
  if (Fault fault = shared.beginCopy(copy.to, copy.bytes, thread, copy.site); fault != Fault::None)
    sharedFault(fault, thread, copy.site, true);
  queues[thread].copies.push_back(copy);
}

void ThreadBlock::commitCopies(unsigned thread) { queues[thread].groupEnds.push_back(queues[thread].copies.size()); }

void ThreadBlock::waitCopies(unsigned thread, int pending) {
  AsyncQueue &queue = queues[thread];
  size_t groups = queue.groupEnds.size(), landed = 0, done = 0;
  if (pending < 0) {
    landed = queue.copies.size();
    done = groups;
  } else if (groups > static_cast<size_t>(pending)) {
    done = groups - pending;
    landed = queue.groupEnds[done - 1];
  }
  for (size_t i = 0; i < landed; ++i)
    shared.landCopy(queue.copies[i].to, queue.copies[i].bytes, queue.copies[i].data, thread, queue.copies[i].site);
  queue.copies.erase(queue.copies.begin(), queue.copies.begin() + landed);
  queue.groupEnds.erase(queue.groupEnds.begin(), queue.groupEnds.begin() + done);
  for (size_t &end : queue.groupEnds)
    end -= landed;
}
