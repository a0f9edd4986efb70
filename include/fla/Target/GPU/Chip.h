//===- Chip.h - what each supported GPU offers ------------------*- C++ -*-===//
//
// One row a chip, all of it data: lowerings and cost models ask for properties,
// never for a name. A new chip is a new row of Chip.cpp.
//
// | Chip    | Usual device   | lanes | shared memory a block | matrix unit  |
// |---------|----------------|-------|-----------------------|--------------|
// | sm_80   | A100           | 32    | 163 KiB               | mma.sync     |
// | sm_86   | RTX 3090       | 32    | 99 KiB                | mma.sync     |
// | sm_89   | RTX 4090       | 32    | 99 KiB                | mma.sync     |
// | sm_90   | H100           | 32    | 227 KiB               | mma.sync     |
// | sm_100  | B200           | 32    | 227 KiB               | mma.sync     |
// | sm_120  | RTX 5090       | 32    | 99 KiB                | mma.sync     |
// | gfx90a  | MI250X, a half | 64    | 64 KiB                | MFMA         |
// | gfx942  | MI300X         | 64    | 64 KiB                | MFMA         |
// | gfx950  | MI355X         | 64    | 160 KiB               | MFMA         |
// | gfx1100 | RX 7900 XTX    | 32    | 64 KiB                | WMMA, gfx11  |
// | gfx1201 | RX 9070 XT     | 32    | 64 KiB                | WMMA, gfx12  |
//
// A "unit" is what shares one scratchpad: an SM, or a compute unit.
//
//===----------------------------------------------------------------------===//
#ifndef FLA_TARGET_GPU_CHIP_H
#define FLA_TARGET_GPU_CHIP_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include <optional>
#include <string>

namespace fla::gpu {

enum class Vendor { NVIDIA, AMD };

/// The instruction family that multiplies matrices held in registers.
enum class MatrixUnit {
  MmaSync, ///< mma.sync: 32 lanes, fragments of 16x8
  MFMA,    ///< v_mfma: 64 lanes, fragments of 16x16 or 32x32
  WMMA11,  ///< v_wmma of gfx11: 32 lanes, A and B repeated in both halves
  WMMA12,  ///< v_wmma of gfx12: 32 lanes, nothing repeated
};

/// Dense peaks of the usual device, for cost models; they bound, they do not predict.
struct PeakRates {
  double memoryGBs;  ///< device memory, GB/s
  double halfTFlops; ///< f16 and bf16 inputs, f32 sums, through `matrixUnit`
  double tf32TFlops; ///< tf32 (xf32) inputs through `matrixUnit`; 0: none
  double f32TFlops;  ///< exact f32: FMA on NVIDIA and RDNA, MFMA on CDNA
};

struct Chip {
  llvm::StringLiteral name;
  llvm::StringLiteral device; ///< the usual device of this architecture
  Vendor vendor;
  MatrixUnit matrixUnit;
  int64_t lanes;                ///< threads of a warp or wave
  int64_t sharedBytes;          ///< most scratchpad of one block (on NVIDIA after opting in)
  int64_t unitSharedBytes;      ///< scratchpad of a unit
  int64_t blockSharedReserve;   ///< scratchpad the system takes a block
  int64_t registers;            ///< most 32-bit registers of a thread
  int64_t unitRegisters;        ///< 32-bit registers of a unit, all lanes together
  int64_t registerGranule;      ///< a thread's registers are handed out in multiples of this
  int64_t unitWarps;            ///< most warps resident on a unit
  int64_t unitBlocks;           ///< most blocks resident on a unit
  int64_t units;                ///< units of the usual device
  int64_t maxThreads;           ///< most threads of a block
  bool tf32;                    ///< the matrix unit takes tf32 (AMD: xf32) inputs
  bool roundsTF32;              ///< one instruction rounds f32 to tf32
  bool ldmatrix;                ///< ldmatrix, plain and transposed
  bool stmatrix;                ///< stmatrix, plain and transposed
  bool asyncCopy;               ///< cp.async from global to shared memory, past the registers
  bool wideHalf;                ///< bf16 and f16 fragments of 32 along k in one instruction (gfx950)
  llvm::StringLiteral features; ///< of LLVM's code generator, the PTX version among them
  PeakRates peak;
};

/// The chip of that name, or null.
const Chip *findChip(llvm::StringRef name);

/// Every chip, NVIDIA's first.
llvm::ArrayRef<Chip> allChips();

/// "sm_80, sm_86, ...", for diagnostics; of one vendor if named.
std::string chipNames(std::optional<Vendor> vendor = std::nullopt);

/// What a compiled kernel needs of a unit.
struct Footprint {
  int64_t threads = 0;     ///< of a block
  int64_t registers = 0;   ///< of a thread; 0: unknown
  int64_t sharedBytes = 0; ///< of a block, static and dynamic
};

/// Blocks of that footprint that fit on a unit at once; 0 when not even one does.
/// An estimate: allocation granularities other than `registerGranule` are left out.
int64_t residentBlocks(const Chip &chip, const Footprint &footprint);

/// Resident warps over the most there can be, in [0, 1].
double occupancy(const Chip &chip, const Footprint &footprint);

} // namespace fla::gpu

#endif
