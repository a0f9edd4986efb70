//===- NVIDIA.cpp - NVVM's registers, barriers, shuffles and copies -------===//
//
// After the PTX ISA; each function names its section.
//
//===----------------------------------------------------------------------===//
#include "Elementwise.h"
#include "Intrinsics.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

#include <cstring>

using namespace mlir;
using namespace fla::sim;

//===----------------------------------------------------------------------===//
// Special registers (PTX ISA, "Special Registers"); blocks have one dimension
//===----------------------------------------------------------------------===//

static void addRegisters(Compiler::Handlers &h) {
  h["nvvm.read.ptx.sreg.tid.x"] = [](Operation &op, Compiler &c) { compileIdentity(op, c, [](ThreadBlock &, unsigned t) { return t; }); };
  h["nvvm.read.ptx.sreg.ntid.x"] = [](Operation &op, Compiler &c) { compileIdentity(op, c, [](ThreadBlock &b, unsigned) { return b.threads; }); };
  h["nvvm.read.ptx.sreg.ctaid.x"] = [](Operation &op, Compiler &c) { compileIdentity(op, c, [](ThreadBlock &b, unsigned) { return b.id; }); };
  h["nvvm.read.ptx.sreg.nctaid.x"] = [](Operation &op, Compiler &c) {
    compileIdentity(op, c, [](ThreadBlock &b, unsigned) { return b.gridBlocks; });
  };
  h["nvvm.read.ptx.sreg.laneid"] = [](Operation &op, Compiler &c) { compileIdentity(op, c, [](ThreadBlock &b, unsigned t) { return t % b.lanes; }); };
  h["nvvm.read.ptx.sreg.warpid"] = [](Operation &op, Compiler &c) { compileIdentity(op, c, [](ThreadBlock &b, unsigned t) { return t / b.lanes; }); };
  h["nvvm.read.ptx.sreg.nwarpid"] = [](Operation &op, Compiler &c) { compileIdentity(op, c, [](ThreadBlock &b, unsigned) { return b.warps(); }); };
  h["nvvm.read.ptx.sreg.dynamic.smem.size"] = [](Operation &op, Compiler &c) {
    compileIdentity(op, c, [](ThreadBlock &b, unsigned) { return b.shared.size() - b.program.staticShared; });
  };
  h["nvvm.read.ptx.sreg.warpsize"] = compileFixed<32>;
  for (llvm::StringRef name : {"tid.y", "tid.z", "ctaid.y", "ctaid.z"})
    h[("nvvm.read.ptx.sreg." + name).str()] = compileFixed<0>;
  for (llvm::StringRef name : {"ntid.y", "ntid.z", "nctaid.y", "nctaid.z"})
    h[("nvvm.read.ptx.sreg." + name).str()] = compileFixed<1>;
}

//===----------------------------------------------------------------------===//
// Barriers (PTX ISA, "bar, barrier" and "bar.warp.sync")
//===----------------------------------------------------------------------===//

static void compileBarrier(Operation &op, Compiler &c) {
  if (op.getNumOperands() || op.getNumResults())
    return c.unsupported(op, "barriers with an id, with a number of threads or with a reduction");
  c.step([site = c.site(op)](ThreadBlock &b) { b.barrier(site); });
}

static void compileWarpBarrier(Operation &op, Compiler &c) {
  if (c.constantOf(op.getOperand(0)).value_or(0) != 0xffffffff)
    return c.unsupported(op, "a warp's barrier for fewer than all lanes");
  c.step([site = c.site(op)](ThreadBlock &b) { b.warpBarrier(site); });
}

//===----------------------------------------------------------------------===//
// Exchanges between lanes (PTX ISA, "shfl.sync", "vote.sync", "redux.sync")
//===----------------------------------------------------------------------===//

namespace {
struct Shuffle {
  NVVM::ShflKind kind;
  Slot members, value, offset, clamp, result;
  std::optional<Slot> isValid;
  uint32_t site;
};
} // namespace

/// The lane to read from, and whether it is in range: the pseudocode of the ISA.
static std::pair<unsigned, bool> sourceLane(NVVM::ShflKind kind, unsigned lane, uint32_t b, uint32_t c) {
  unsigned bval = b & 0x1f, cval = c & 0x1f, segmask = c >> 8 & 0x1f;
  unsigned maxLane = (lane & segmask) | (cval & ~segmask & 0x1f), minLane = lane & segmask;
  int j = 0;
  bool inRange = false;
  switch (kind) {
  case NVVM::ShflKind::up:
    j = int(lane) - int(bval);
    inRange = j >= int(maxLane);
    break;
  case NVVM::ShflKind::down:
    j = lane + bval;
    inRange = j <= int(maxLane);
    break;
  case NVVM::ShflKind::bfly:
    j = lane ^ bval;
    inRange = j <= int(maxLane);
    break;
  case NVVM::ShflKind::idx:
    j = minLane | (bval & ~segmask & 0x1f);
    inRange = j <= int(maxLane);
    break;
  }
  return {inRange ? unsigned(j) : lane, inRange};
}

/// Checks that exactly the lanes that the mask names are there, this one among them.
static bool checkMembers(ThreadBlock &b, uint32_t members, unsigned thread, uint32_t site) {
  unsigned first = thread / 32 * 32;
  for (unsigned lane = 0; lane < 32; ++lane) {
    bool named = members >> lane & 1, present = first + lane < b.threads && b.isActive(first + lane);
    if (named != present) {
      b.error(ErrorKind::Divergence, site, thread,
              llvm::Twine("lane ") + llvm::Twine(lane) + (named ? " is in the mask but not active" : " is active but not in the mask"));
      return false;
    }
  }
  return true;
}

static void runShuffle(ThreadBlock &b, const Shuffle &s) {
  std::vector<uint64_t> values(b.slot(s.value), b.slot(s.value) + b.threads);
  for (unsigned t = b.begin(); t < b.end(); ++t) {
    if (!b.isActive(t))
      continue;
    if (t == b.begin() || t % 32 == 0)
      checkMembers(b, b.slot(s.members)[t], t, s.site);
    auto [lane, inRange] = sourceLane(s.kind, t % 32, b.slot(s.offset)[t], b.slot(s.clamp)[t]);
    unsigned from = t / 32 * 32 + lane;
    bool readable = from < b.threads && b.isActive(from);
    if (!readable)
      b.error(ErrorKind::Divergence, s.site, t, "reads from lane " + llvm::Twine(lane) + ", which is not active");
    b.slot(s.result)[t] = readable ? values[from] : 0xffffffff;
    if (s.isValid)
      b.slot(*s.isValid)[t] = inRange;
  }
}

static void compileShuffle(Operation &op, Compiler &c) {
  auto shuffle = cast<NVVM::ShflOp>(op);
  Slots results = c.define(shuffle.getRes());
  Shuffle s{shuffle.getKind(),
            c.slot(shuffle.getThreadMask()),
            c.slot(shuffle.getVal()),
            c.slot(shuffle.getOffset()),
            c.slot(shuffle.getMaskAndClamp()),
            results[0],
            results.size() > 1 ? std::optional(results[1]) : std::nullopt,
            c.site(op)};
  c.step([s](ThreadBlock &b) { runShuffle(b, s); });
}

static void compileVote(Operation &op, Compiler &c) {
  auto vote = cast<NVVM::VoteSyncOp>(op);
  Slot members = c.slot(vote.getMask()), predicate = c.slot(vote.getPred()), result = c.define(vote.getRes())[0];
  NVVM::VoteSyncKind kind = vote.getKind();
  c.step([=, site = c.site(op)](ThreadBlock &b) {
    for (unsigned t = b.begin(); t < b.end(); ++t) {
      if (!b.isActive(t))
        continue;
      checkMembers(b, b.slot(members)[t], t, site);
      uint32_t ballot = 0, present = 0;
      for (unsigned u = t / 32 * 32; u < b.warpEnd(t / 32); ++u)
        if (b.isActive(u)) {
          present |= 1u << u % 32;
          ballot |= uint32_t(b.slot(predicate)[u]) << u % 32;
        }
      uint64_t uniform = ballot == 0 || ballot == present;
      b.slot(result)[t] = kind == NVVM::VoteSyncKind::ballot ? ballot
                          : kind == NVVM::VoteSyncKind::any  ? ballot != 0
                          : kind == NVVM::VoteSyncKind::all  ? ballot == present
                                                             : uniform;
    }
  });
}

//===----------------------------------------------------------------------===//
// Asynchronous copies (PTX ISA, "cp.async", ".commit_group", ".wait_group")
//===----------------------------------------------------------------------===//

namespace {
struct CopySlots {
  Slot to, from;
  std::optional<Slot> sourceBytes;
  unsigned bytes;
  uint32_t site;
};
} // namespace

/// Threads whose source size is zero touch no global memory: they count as their neighbours.
static void countCopy(ThreadBlock &b, const CopySlots &s) {
  b.countShared(s.site, b.slot(s.to), s.bytes, false);
  std::vector<uint64_t> addresses(b.slot(s.from), b.slot(s.from) + b.threads);
  if (s.sourceBytes)
    for (unsigned t = b.begin(); t < b.end(); ++t)
      if (b.slot(*s.sourceBytes)[t] == 0)
        addresses[t] = addresses[t == b.begin() ? t : t - 1];
  b.countGlobal(s.site, addresses.data(), s.bytes);
}

/// Bytes beyond the source size are zero.
static void runCopy(ThreadBlock &b, const CopySlots &s) {
  countCopy(b, s);
  for (unsigned t = b.begin(); t < b.end(); ++t) {
    if (!b.isActive(t))
      continue;
    AsyncCopy copy{uint32_t(b.slot(s.to)[t]), s.bytes, s.site, {}};
    uint64_t bytes = s.sourceBytes ? b.slot(*s.sourceBytes)[t] : s.bytes;
    if (bytes > s.bytes) {
      b.error(ErrorKind::Operand, s.site, t, "expected a source size of at most " + llvm::Twine(s.bytes) + ", got " + llvm::Twine(bytes));
      bytes = s.bytes;
    }
    if (bytes)
      if (const uint8_t *from = b.readGlobal(b.slot(s.from)[t], bytes, s.bytes, t, s.site))
        std::memcpy(copy.data, from, bytes);
    b.beginCopy(copy, t);
  }
}

static void compileCopy(Operation &op, Compiler &c) {
  auto copy = cast<NVVM::CpAsyncOp>(op);
  std::optional<Slot> bytes = copy.getCpSize() ? std::optional(c.slot(copy.getCpSize())) : std::nullopt;
  CopySlots s{c.slot(copy.getDst()), c.slot(copy.getSrc()), bytes, unsigned(copy.getSize()), c.site(op)};
  c.step([s](ThreadBlock &b) { runCopy(b, s); });
}

static void compileCommit(Operation &, Compiler &c) {
  c.step([](ThreadBlock &b) {
    for (unsigned t = b.begin(); t < b.end(); ++t)
      if (b.isActive(t))
        b.commitCopies(t);
  });
}

static void compileWait(Operation &op, Compiler &c) {
  int pending = cast<NVVM::CpAsyncWaitGroupOp>(op).getN();
  c.step([=](ThreadBlock &b) {
    for (unsigned t = b.begin(); t < b.end(); ++t)
      if (b.isActive(t))
        b.waitCopies(t, pending);
  });
}

//===----------------------------------------------------------------------===//
// Conversions (PTX ISA, "cvt", "prmt")
//===----------------------------------------------------------------------===//

/// To TF32: to the nearest with ties away from zero (.rna), to even (.rn), or towards zero.
static void compileToTF32(Operation &op, Compiler &c) {
  auto convert = cast<NVVM::ConvertFloatToTF32Op>(op);
  NVVM::FPRoundingMode mode = convert.getRnd();
  Slot target = c.define(convert.getRes())[0];
  c.map(target, c.slot(convert.getSrc()), [mode](uint64_t x) -> uint64_t {
    uint32_t bits = x, kept = bits & ~0x1fffu;
    if ((bits & 0x7f800000) == 0x7f800000)
      return kept;
    if (mode == NVVM::FPRoundingMode::RNA)
      return (bits + 0x1000) & ~0x1fffu;
    if (mode == NVVM::FPRoundingMode::RN)
      return (bits + 0xfff + (bits >> 13 & 1)) & ~0x1fffu;
    return kept;
  });
}

/// The first operand becomes the high half, the second the low one.
template <class Format> static void compilePack(Operation &op, Compiler &c) {
  if (op.getNumOperands() != 2)
    return c.unsupported(op, "stochastic rounding");
  Slots targets = c.define(op.getResult(0));
  for (unsigned i = 0; i < 2; ++i)
    c.map(targets[i], c.slot(op.getOperand(1 - i)), [](uint64_t x) { return Format::put(F32::get(x)); });
}

static void compilePermute(Operation &op, Compiler &c) {
  auto permute = cast<NVVM::PermuteOp>(op);
  if (permute.getMode() != NVVM::PermuteMode::DEFAULT || !permute.getHi())
    return c.unsupported(op, "modes of prmt other than the default");
  Slot target = c.define(permute.getRes())[0];
  c.map(target, c.slot(permute.getLo()), c.slot(permute.getHi()), c.slot(permute.getSelector()), [](uint64_t low, uint64_t high, uint64_t selector) {
    uint64_t bytes = high << 32 | low, result = 0;
    for (unsigned i = 0; i < 4; ++i) {
      unsigned pick = selector >> 4 * i & 0xf;
      uint64_t byte = bytes >> 8 * (pick & 7) & 0xff;
      result |= (pick & 8 ? (byte & 0x80 ? 0xff : 0) : byte) << 8 * i;
    }
    return result;
  });
}

void fla::sim::addNVIDIA(Compiler::Handlers &h) {
  addRegisters(h);
  h["nvvm.barrier"] = h["nvvm.barrier0"] = compileBarrier;
  h["nvvm.bar.warp.sync"] = compileWarpBarrier;
  h["nvvm.shfl.sync"] = compileShuffle;
  h["nvvm.vote.sync"] = compileVote;
  h["nvvm.cp.async.shared.global"] = compileCopy;
  h["nvvm.cp.async.commit.group"] = compileCommit;
  h["nvvm.cp.async.wait.group"] = compileWait;
  h["nvvm.convert.float.to.tf32"] = compileToTF32;
  h["nvvm.convert.f32x2.to.bf16x2"] = compilePack<BF16>;
  h["nvvm.convert.f32x2.to.f16x2"] = compilePack<F16>;
  h["nvvm.prmt"] = compilePermute;
  for (llvm::StringRef name : {"nvvm.memory.barrier", "nvvm.fence.proxy", "nvvm.prefetch", "nvvm.setmaxregister", "nvvm.griddepcontrol"})
    h[name] = compileIgnored;
}
