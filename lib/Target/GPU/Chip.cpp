//===- Chip.cpp - the table of GPUs ---------------------------------------===//
//
// Sources: CUDA C++ Programming Guide, "Technical Specifications per Compute
// Capability"; AMD's CDNA and RDNA ISA guides and LLVM's AMDGPUUsage; vendors'
// data sheets for rates (dense, boost clock).
//
// mma.sync reaches less than the peak of data sheets where newer instructions
// exist: about 63 % of it on sm_90 ("Benchmarking and Dissecting the Nvidia Hopper
// GPU Architecture via Microbenchmarking", 2024). On sm_100 no published figure
// was found; assumed is the rate of sm_80 a unit and clock.
//
//===----------------------------------------------------------------------===//
#include "fla/Target/GPU/Chip.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"

#include <algorithm>

namespace fla::gpu {

static constexpr int64_t KiB = 1024;

namespace {
/// What differs between NVIDIA's chips.
struct Nvidia {
  llvm::StringLiteral name, device;
  int64_t sharedKiB, unitWarps, unitBlocks, units;
  bool stmatrix;
  llvm::StringLiteral features;
  PeakRates peak;
};

/// What differs between AMD's.
struct Amd {
  llvm::StringLiteral name, device;
  MatrixUnit matrixUnit;
  int64_t sharedKiB, unitSharedKiB, units;
  bool tf32, wideHalf;
  PeakRates peak;
};
} // namespace

static constexpr Chip row(const Nvidia &n) {
  return {n.name, n.device, Vendor::NVIDIA, MatrixUnit::MmaSync, /*lanes=*/32, n.sharedKiB * KiB,
          // One KiB of each block belongs to the system.
          (n.sharedKiB + 1) * KiB, KiB, /*registers=*/255, /*unitRegisters=*/65536, /*registerGranule=*/8, n.unitWarps, n.unitBlocks, n.units,
          // cvt.rn.tf32 came with stmatrix, in sm_90.
          /*maxThreads=*/1024, /*tf32=*/true, /*roundsTF32=*/n.stmatrix, /*ldmatrix=*/true, n.stmatrix, /*asyncCopy=*/true, /*wideHalf=*/false,
          n.features, n.peak};
}

static constexpr Chip row(const Amd &a) {
  bool cdna = a.matrixUnit == MatrixUnit::MFMA;
  return {a.name, a.device, Vendor::AMD, a.matrixUnit, /*lanes=*/cdna ? 64 : 32, a.sharedKiB * KiB, a.unitSharedKiB * KiB, 0,
          // CDNA: 256 vector and 256 accumulation registers in one file.
          /*registers=*/cdna ? 512 : 256, /*unitRegisters=*/cdna ? 131072 : 98304, /*registerGranule=*/cdna ? 8 : 24,
          /*unitWarps=*/32, /*unitBlocks=*/cdna ? 32 : 16, a.units, /*maxThreads=*/1024, a.tf32, /*roundsTF32=*/false, /*ldmatrix=*/false,
          /*stmatrix=*/false, /*asyncCopy=*/false, a.wideHalf,
          cdna ? llvm::StringLiteral("+wavefrontsize64") : llvm::StringLiteral("+wavefrontsize32"), a.peak};
}

static constexpr Chip kChips[] = {
    row(Nvidia{"sm_80", "A100", 163, 64, 32, 108, false, "+ptx80", {2039, 312, 156, 19.5}}),
    row(Nvidia{"sm_86", "RTX 3090", 99, 48, 16, 82, false, "+ptx80", {936, 71, 35.6, 35.6}}),
    row(Nvidia{"sm_89", "RTX 4090", 99, 48, 24, 128, false, "+ptx80", {1008, 165, 82.6, 82.6}}),
    row(Nvidia{"sm_90", "H100", 227, 64, 32, 132, true, "+ptx80", {3352, 620, 310, 67}}),
    row(Nvidia{"sm_100", "B200", 227, 64, 32, 148, true, "+ptx86", {8000, 560, 280, 75}}),
    row(Nvidia{"sm_120", "RTX 5090", 99, 48, 24, 170, true, "+ptx87", {1792, 209, 105, 105}}),
    row(Amd{"gfx90a", "MI250X, one of its two dies", MatrixUnit::MFMA, 64, 64, 110, false, false, {1638, 191, 0, 47.9}}),
    row(Amd{"gfx942", "MI300X", MatrixUnit::MFMA, 64, 64, 304, true, false, {5300, 1307, 653, 163}}),
    row(Amd{"gfx950", "MI355X", MatrixUnit::MFMA, 160, 160, 256, false, true, {8000, 2516, 0, 157}}),
    // A workgroup of RDNA may span the two compute units of a processor, which
    // share 128 KiB, but use 64 of them; counted a unit it is 64.
    row(Amd{"gfx1100", "RX 7900 XTX", MatrixUnit::WMMA11, 64, 64, 96, false, false, {960, 123, 0, 61.4}}),
    row(Amd{"gfx1201", "RX 9070 XT", MatrixUnit::WMMA12, 64, 64, 64, false, false, {640, 195, 0, 48.7}}),
};

llvm::ArrayRef<Chip> allChips() { return kChips; }

const Chip *findChip(llvm::StringRef name) {
  const Chip *found = llvm::find_if(kChips, [&](const Chip &chip) { return chip.name == name; });
  return found == std::end(kChips) ? nullptr : found;
}

std::string chipNames(std::optional<Vendor> vendor) {
  std::string names;
  for (const Chip &chip : kChips)
    if (!vendor || chip.vendor == *vendor)
      names += (names.empty() ? "" : ", ") + chip.name.str();
  return names;
}

int64_t residentBlocks(const Chip &chip, const Footprint &footprint) {
  int64_t warps = llvm::divideCeil(footprint.threads, chip.lanes);
  if (warps == 0 || footprint.sharedBytes > chip.sharedBytes)
    return 0;
  int64_t blocks = std::min(chip.unitBlocks, chip.unitWarps / warps);
  if (int64_t shared = footprint.sharedBytes + chip.blockSharedReserve)
    blocks = std::min(blocks, chip.unitSharedBytes / shared);
  if (footprint.registers)
    blocks = std::min<int64_t>(blocks, chip.unitRegisters / (llvm::alignTo(footprint.registers, chip.registerGranule) * warps * chip.lanes));
  return blocks;
}

double occupancy(const Chip &chip, const Footprint &footprint) {
  int64_t warps = llvm::divideCeil(footprint.threads, chip.lanes);
  return static_cast<double>(residentBlocks(chip, footprint) * warps) / static_cast<double>(chip.unitWarps);
}

} // namespace fla::gpu
