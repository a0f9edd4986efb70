//===- AMD.cpp - ROCDL's registers, barriers, exchanges and buffers -------===//
//
// After the ISA documents of CDNA 3 and RDNA 3 and LLVM's "User Guide for AMDGPU
// Backend" (memory model, buffer resources); each function names its source.
//
//===----------------------------------------------------------------------===//
#include "Intrinsics.h"

#include "mlir/Dialect/LLVMIR/ROCDLDialect.h"

#include <cstring>

using namespace mlir;
using namespace fla::sim;

//===----------------------------------------------------------------------===//
// Registers; work-groups have one dimension
//===----------------------------------------------------------------------===//

/// v_mbcnt_lo/hi: bits of the mask below this lane, of its low or its high half, plus the second operand.
template <bool high> static void compileMaskCount(Operation &op, Compiler &c) {
  Slot mask = c.slot(op.getOperand(0)), add = c.slot(op.getOperand(1)), target = c.define(op.getResult(0))[0];
  c.step([=](ThreadBlock &b) {
    for (unsigned t = b.begin(); t < b.end(); ++t) {
      unsigned lane = t % b.lanes, below = high ? (lane > 32 ? lane - 32 : 0) : std::min(lane, 32u);
      b.slot(target)[t] = (std::popcount(b.slot(mask)[t] & lowBits(below)) + b.slot(add)[t]) & lowBits(32);
    }
  });
}

static void addRegisters(Compiler::Handlers &h) {
  h["rocdl.workitem.id.x"] = [](Operation &op, Compiler &c) { compileIdentity(op, c, [](ThreadBlock &, unsigned t) { return t; }); };
  h["rocdl.workgroup.id.x"] = [](Operation &op, Compiler &c) { compileIdentity(op, c, [](ThreadBlock &b, unsigned) { return b.id; }); };
  h["rocdl.workgroup.dim.x"] = [](Operation &op, Compiler &c) { compileIdentity(op, c, [](ThreadBlock &b, unsigned) { return b.threads; }); };
  h["rocdl.grid.dim.x"] = [](Operation &op, Compiler &c) { compileIdentity(op, c, [](ThreadBlock &b, unsigned) { return b.gridBlocks; }); };
  h["rocdl.wavefrontsize"] = [](Operation &op, Compiler &c) { compileIdentity(op, c, [](ThreadBlock &b, unsigned) { return b.lanes; }); };
  h["rocdl.mbcnt.lo"] = compileMaskCount<false>;
  h["rocdl.mbcnt.hi"] = compileMaskCount<true>;
  for (llvm::StringRef name : {"workitem.id.y", "workitem.id.z", "workgroup.id.y", "workgroup.id.z"})
    h[("rocdl." + name).str()] = compileFixed<0>;
}

//===----------------------------------------------------------------------===//
// Barriers
//===----------------------------------------------------------------------===//

// s_barrier orders no memory (LLVM's intrinsic says so to the optimiser): that
// takes a release fence before it and an acquire fence after it, as in `rocdl.barrier`.
static void compileBareBarrier(Operation &op, Compiler &c) {
  c.step([site = c.site(op)](ThreadBlock &b) {
    if (b.touchedSinceRelease)
      b.error(ErrorKind::MissingWait, site, b.begin(), "expected a release fence between the last access to shared memory and the barrier");
    b.barrier(site);
    b.touchedSinceRelease = false;
    b.awaitsAcquire = true;
  });
}

static void compileBarrier(Operation &op, Compiler &c) {
  c.step([site = c.site(op)](ThreadBlock &b) {
    b.barrier(site);
    b.touchedSinceRelease = b.awaitsAcquire = false;
  });
}

/// A fence of the wavefront orders its lanes, which run in lockstep.
static void compileFence(Operation &op, Compiler &c) {
  auto fence = cast<LLVM::FenceOp>(op);
  LLVM::AtomicOrdering ordering = fence.getOrdering();
  bool releases = ordering != LLVM::AtomicOrdering::acquire, acquires = ordering != LLVM::AtomicOrdering::release;
  bool ofWavefront = fence.getSyncscope().value_or("").starts_with("wavefront");
  c.step([=, site = c.site(op)](ThreadBlock &b) {
    if (ofWavefront)
      return b.warpBarrier(site);
    b.touchedSinceRelease &= !releases;
    b.awaitsAcquire &= !acquires;
  });
}

//===----------------------------------------------------------------------===//
// Exchanges between lanes
//===----------------------------------------------------------------------===//

/// result = the source's value in another lane of the wave, or `otherwise` of that lane is not there.
template <class F> static void compileExchange(Operation &op, Compiler &c, Value source, F laneOf) {
  Slots from(c.slots(source)), to = c.define(op.getResult(0));
  c.step([=, site = c.site(op)](ThreadBlock &b) {
    for (auto [target, origin] : llvm::zip_equal(to, from)) {
      std::vector<uint64_t> values(b.slot(origin), b.slot(origin) + b.threads);
      for (unsigned t = b.begin(); t < b.end(); ++t) {
        if (!b.isActive(t))
          continue;
        unsigned lane = laneOf(b, t) % b.lanes, other = t / b.lanes * b.lanes + lane;
        bool readable = other < b.threads && b.isActive(other);
        if (!readable)
          b.error(ErrorKind::Divergence, site, t, "reads from lane " + llvm::Twine(lane) + ", which is not active");
        b.slot(target)[t] = readable ? values[other] : 0;
      }
    }
  });
}

/// ds_bpermute_b32: the address is four times the lane; it wraps around.
static void compilePermute(Operation &op, Compiler &c) {
  Slot address = c.slot(op.getOperand(0));
  compileExchange(op, c, op.getOperand(1), [=](ThreadBlock &b, unsigned t) { return unsigned(b.slot(address)[t]) / 4; });
}

static void compileReadLane(Operation &op, Compiler &c) {
  Slot lane = c.slot(op.getOperand(1));
  compileExchange(op, c, op.getOperand(0), [=](ThreadBlock &b, unsigned t) { return unsigned(b.slot(lane)[t]); });
}

static void compileReadFirstLane(Operation &op, Compiler &c) {
  compileExchange(op, c, op.getOperand(0), [](ThreadBlock &b, unsigned t) {
    unsigned first = t / b.lanes * b.lanes;
    while (!b.isActive(first))
      ++first;
    return first % b.lanes;
  });
}

/// ds_swizzle_b32 in its bit-mask mode (offset bit 15 clear): in each group of 32
/// lanes, lane' = ((lane & and) | or) ^ xor; otherwise a permutation of four.
static void compileSwizzle(Operation &op, Compiler &c) {
  std::optional<uint64_t> offset = c.constantOf(op.getOperand(1));
  if (!offset || *offset > 0x80ff)
    return c.unsupported(op, "expected a constant bit mask or a permutation of four lanes");
  unsigned pattern = *offset;
  compileExchange(op, c, op.getOperand(0), [=](ThreadBlock &b, unsigned t) {
    unsigned lane = t % b.lanes;
    if (pattern & 0x8000)
      return (lane & ~3u) + (pattern >> 2 * (lane & 3) & 3);
    unsigned in = lane & 31;
    return (lane & ~31u) + (((in & (pattern & 31)) | (pattern >> 5 & 31)) ^ (pattern >> 10 & 31));
  });
}

static void compileBallot(Operation &op, Compiler &c) {
  Slot predicate = c.slot(op.getOperand(0)), target = c.define(op.getResult(0))[0];
  c.step([=](ThreadBlock &b) {
    for (unsigned t = b.begin(); t < b.end(); ++t) {
      uint64_t ballot = 0;
      for (unsigned u = t / b.lanes * b.lanes; u < b.warpEnd(t / b.lanes); ++u)
        ballot |= uint64_t(b.isActive(u) && b.slot(predicate)[u]) << u % b.lanes;
      b.slot(target)[t] = ballot;
    }
  });
}

//===----------------------------------------------------------------------===//
// Data-parallel primitives (CDNA 3 ISA and RDNA 3 ISA, "DPP")
//===----------------------------------------------------------------------===//

/// The lane that a control reads from; none if it lies outside the row. Rows have 16 lanes.
static std::optional<int> dppSource(unsigned control, int lane) {
  int row = lane & ~15, in = lane & 15, by = control & 15;
  auto inRow = [&](int at) { return at >= 0 && at < 16 ? std::optional(row + at) : std::nullopt; };
  if (control <= 0xff) // quad_perm
    return (lane & ~3) + (control >> 2 * (lane & 3) & 3);
  switch (control & ~15u) {
  case 0x100: // row_shl
    return inRow(in + by);
  case 0x110: // row_shr
    return inRow(in - by);
  case 0x120: // row_ror
    return row + ((in - by) & 15);
  case 0x140:
    if (by == 0) // row_mirror
      return row + 15 - in;
    if (by == 1) // row_half_mirror
      return row + (in & 8) + 7 - (in & 7);
    if (by == 2) // row_bcast15: the last lane of the row before
      return row ? std::optional(row - 1) : std::nullopt;
    return lane >= 32 ? std::optional(31) : std::nullopt; // row_bcast31
  case 0x150:                                             // row_share, or row_newbcast on gfx90a
    return row + by;
  case 0x160: // row_xmask
    return row + (in ^ by);
  }
  return std::nullopt;
}

static bool isKnownDpp(unsigned control) {
  return control <= 0xff || (control > 0x100 && control < 0x130 && control & 15) || (control >= 0x140 && control <= 0x143) ||
         (control >= 0x150 && control <= 0x16f);
}

static void compileDpp(Operation &op, Compiler &c) {
  auto dpp = cast<ROCDL::DPPUpdateOp>(op);
  unsigned control = dpp.getDppCtrl(), rows = dpp.getRowMask(), banks = dpp.getBankMask();
  bool zeroes = dpp.getBoundCtrl();
  if (!isKnownDpp(control))
    return c.unsupported(op, "unknown control " + llvm::Twine(control));
  Slots old(c.slots(dpp.getOld())), from(c.slots(dpp.getSrc())), to = c.define(dpp.getRes());
  c.step([=](ThreadBlock &b) {
    for (auto [target, origin, kept] : llvm::zip_equal(to, from, old)) {
      std::vector<uint64_t> values(b.slot(origin), b.slot(origin) + b.threads);
      for (unsigned t = b.begin(); t < b.end(); ++t) {
        unsigned lane = t % b.lanes, first = t - lane;
        bool enabled = rows >> lane / 16 & 1 && banks >> lane % 16 / 4 & 1;
        std::optional<int> source = dppSource(control, lane);
        bool readable = source && first + *source < b.threads && b.isActive(first + *source);
        b.slot(target)[t] = !enabled ? b.slot(kept)[t] : readable ? values[first + *source] : zeroes ? 0 : b.slot(kept)[t];
      }
    }
  });
}

/// v_permlanex16_b32: from the other row of 16 lanes, the lane that four bits of the selectors name.
static void compilePermuteRows(Operation &op, Compiler &c) {
  auto permute = cast<ROCDL::PermlaneX16Op>(op);
  Slot low = c.slot(permute.getSrc1()), high = c.slot(permute.getSrc2());
  compileExchange(op, c, permute.getSrc0(), [=](ThreadBlock &b, unsigned t) {
    unsigned lane = t % b.lanes, in = lane & 15;
    uint64_t selector = b.slot(in < 8 ? low : high)[t];
    return ((lane & ~15u) ^ 16) + unsigned(selector >> 4 * (in & 7) & 15);
  });
}

//===----------------------------------------------------------------------===//
// Raw buffers ("Buffer Fat Pointers" and "Buffer Resources" of LLVM's guide)
//===----------------------------------------------------------------------===//

/// A resource's slots are its base and its number of bytes.
static void compileResource(Operation &op, Compiler &c) {
  auto make = cast<ROCDL::MakeBufferRsrcOp>(op);
  if (c.constantOf(make.getStride()).value_or(1) != 0)
    return c.unsupported(op, "expected a stride of 0");
  c.rename(make.getRes(), {c.slot(make.getBase()), c.slot(make.getNumRecords())});
}

namespace {
struct BufferAccess {
  Slot base, bytes, offset, scalarOffset;
  Slots values;
  unsigned elementBytes;
  uint32_t site;
};
} // namespace

/// Elements beyond the number of bytes read as zero and are not written.
template <bool writes> static void runBuffer(ThreadBlock &b, const BufferAccess &x) {
  std::vector<uint64_t> addresses(b.threads);
  for (unsigned t = b.begin(); t < b.end(); ++t) {
    if (!b.isActive(t))
      continue;
    uint64_t at = (b.slot(x.offset)[t] + b.slot(x.scalarOffset)[t]) & lowBits(32), limit = b.slot(x.bytes)[t];
    addresses[t] = b.slot(x.base)[t] + std::min(at, limit);
    for (size_t i = 0; i < x.values.size(); ++i, at += x.elementBytes) {
      uint8_t data[8] = {};
      uint64_t &value = b.slot(x.values[i])[t];
      bool inside = at + x.elementBytes <= limit;
      if (writes && inside) {
        std::memcpy(data, &value, x.elementBytes);
        b.writeGlobal(b.slot(x.base)[t] + at, x.elementBytes, x.elementBytes, t, x.site, data);
      } else if (!writes) {
        if (inside)
          if (const uint8_t *from = b.readGlobal(b.slot(x.base)[t] + at, x.elementBytes, x.elementBytes, t, x.site))
            std::memcpy(data, from, x.elementBytes);
        std::memcpy(&value, data, 8);
      }
    }
  }
  b.countGlobal(x.site, addresses.data(), x.elementBytes * x.values.size());
}

template <bool writes> static void compileBuffer(Operation &op, Compiler &c, Value resource, Value offset, Value scalarOffset, Value value) {
  if (c.slots(resource).size() != 2)
    return c.unsupported(op, "expected a resource made in the same block or in one around it");
  if (!writes)
    c.define(value);
  BufferAccess x{c.slots(resource)[0],
                 c.slots(resource)[1],
                 c.slot(offset),
                 c.slot(scalarOffset),
                 Slots(c.slots(value)),
                 elementOf(value.getType()).bytes(),
                 c.site(op)};
  c.step([x](ThreadBlock &b) { runBuffer<writes>(b, x); });
}

static void compileBufferLoad(Operation &op, Compiler &c) {
  auto load = cast<ROCDL::RawPtrBufferLoadOp>(op);
  compileBuffer<false>(op, c, load.getRsrc(), load.getOffset(), load.getSoffset(), load.getRes());
}

static void compileBufferStore(Operation &op, Compiler &c) {
  auto store = cast<ROCDL::RawPtrBufferStoreOp>(op);
  compileBuffer<true>(op, c, store.getRsrc(), store.getOffset(), store.getSoffset(), store.getVdata());
}

void fla::sim::addAMD(Compiler::Handlers &h) {
  addRegisters(h);
  h["rocdl.barrier"] = compileBarrier;
  h["rocdl.s.barrier"] = compileBareBarrier;
  h["llvm.fence"] = compileFence;
  h["rocdl.ds_bpermute"] = compilePermute;
  h["rocdl.ds_swizzle"] = compileSwizzle;
  h["rocdl.readlane"] = compileReadLane;
  h["rocdl.readfirstlane"] = compileReadFirstLane;
  h["rocdl.ballot"] = compileBallot;
  h["rocdl.update.dpp"] = compileDpp;
  h["rocdl.permlanex16"] = compilePermuteRows;
  h["rocdl.make.buffer.rsrc"] = compileResource;
  h["rocdl.raw.ptr.buffer.load"] = compileBufferLoad;
  h["rocdl.raw.ptr.buffer.store"] = compileBufferStore;
  for (llvm::StringRef name :
       {"rocdl.s.waitcnt", "rocdl.s.sleep", "rocdl.s.nop", "rocdl.s.setprio", "rocdl.sched.barrier", "rocdl.sched.group.barrier", "rocdl.iglp.opt"})
    h[name] = compileIgnored;
}
