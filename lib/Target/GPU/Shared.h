//===- Shared.h - tiles in shared memory ------------------------*- C++ -*-===//
//
// A tile lives in shared memory from when it is written until it is last read;
// tiles that are never there together share bytes. Barriers are put where a read
// follows a write or a write follows a read, and nowhere else; the beginning of a
// loop follows its end.
//
//===----------------------------------------------------------------------===//
#ifndef FLA_LIB_TARGET_GPU_SHARED_H
#define FLA_LIB_TARGET_GPU_SHARED_H

#include "Banks.h"
#include "Target.h"

namespace fla::gpu {

/// A tile in shared memory, row after row.
struct SharedTile {
  int64_t number = -1;
  Value base; ///< i32 byte offset, known when the kernel is done
  Type element;
  SmallVector<int64_t> shape;
  SmallVector<int64_t> strides; ///< bytes
  int64_t elementBytes() const { return Emitter::bytes(element); }
  /// Elements between neighbours along an axis.
  int64_t stride(int64_t axis) const { return strides[axis] / elementBytes(); }
  int64_t rowStride() const { return shape.size() > 1 ? stride(shape.size() - 2) : shape.empty() ? 1 : shape.back(); }
  int64_t bytes() const;
  /// Bytes that an access may have: rows begin at multiples of them.
  int64_t alignment() const;
};

class Shared {
public:
  Shared(Emitter &e, const Target &target) : e(e), target(target) {}

  /// Room for a tile, padded so that its accesses spread over the banks.
  SharedTile allocate(ArrayRef<int64_t> shape, Type element, Padding padding);
  /// Room that no other tile shares, at any time.
  SharedTile allocateApart(ArrayRef<int64_t> shape, Type element, Padding padding);
  void beforeWrite();
  void beforeRead(const SharedTile &tile);
  /// Before a copy starts that a later `synchronize` waits for.
  void beforeCopy();
  /// A barrier here, after which all may be read and written.
  void synchronize() { barrier(); }
  /// Notes writes to bytes that nothing has read since the last barrier.
  void wroteUnread() { writes = true; }
  void enterLoop();
  void leaveLoop();
  /// The address of byte `offset` (i32) of a tile, plus a constant.
  Value address(const SharedTile &tile, Value offset, int64_t constant);
  /// Gives every tile its place; returns the bytes of all.
  int64_t finish();
  void setBase(Value pointer) { memory = pointer; }
  bool isInLoop() const { return depth > 0; }
  bool isInLoopOf(const SharedTile &tile) const { return spans[tile.number].depth == depth; }

private:
  struct Span {
    int64_t start, end, bytes, depth, loop;
    arith::ConstantOp offset;
    bool apart = false;
  };
  void barrier();
  Emitter &e;
  const Target &target;
  Value memory;
  SmallVector<Span> spans;
  SmallVector<SmallVector<int64_t>> usedInside{{}}; ///< tiles from outside that each open loop reads
  SmallVector<int64_t> loops{0};
  int64_t clock = 0, depth = 0, numLoops = 0;
  bool reads = false, writes = false;
};

} // namespace fla::gpu

#endif
