//===- Target.h - what the common lowering asks of a vendor -----*- C++ -*-===//
#ifndef FLA_LIB_TARGET_GPU_TARGET_H
#define FLA_LIB_TARGET_GPU_TARGET_H

#include "../Common/Emitter.h"
#include "fla/Dialect/Tile/IR/Tile.h"
#include "fla/Target/GPU/Chip.h"

namespace fla::gpu {
using namespace mlir;
using namespace codegen;

/// A product of small matrices that one warp computes in one instruction:
/// c[m,n] += sum_k a[m,k] b[k,n], operands of one `element`, sums in f32.
struct Atom {
  int64_t m, n, k;
  Type element;
  tile::LinearLayout a, b, c; ///< of one warp; b is k x n
  bool cuts = false;          ///< ignores the last bits of operands, which `Target::rounded` has to round before
  /// Neighbours along k that an operand holds in registers next to each other.
  int64_t run() const { return a.contiguous(1); }
};

class Target {
public:
  explicit Target(const Chip &chip) : chip(chip) {}
  virtual ~Target() = default;
  const Chip &chip;

  /// Number of the thread in its block and of the block in the grid, i32.
  virtual Value threadIndex(Emitter &e) const = 0;
  virtual Value blockIndex(Emitter &e) const = 0;
  /// Waits for all threads of the block; what they wrote to shared memory is visible after.
  virtual void barrier(Emitter &e) const = 0;
  /// The 32-bit `x` of the lane whose number differs in the bits of `mask`.
  virtual Value shuffleXor(Emitter &e, Value x, int64_t mask) const = 0;
  /// The product that takes operands of this type (bf16, f16, or f32 for tf32 or exact f32), or none.
  virtual std::optional<Atom> atom(Type element, bool exact) const = 0;
  /// Whether a warp loads 8x8 matrices of 16-bit elements at once.
  virtual bool loadsMatrices(Type) const { return false; }
  /// `count` (1, 2, 4) of them: lane l gives the address of row l % 8 of matrix l / 8, 8 neighbours, and
  /// gets elements 2(l % 4) and 2(l % 4) + 1 of row l / 4 of each matrix, or of each transpose, as one i32.
  virtual SmallVector<Value> loadMatrices(Emitter &, Value, int64_t, bool) const { llvm_unreachable("loadsMatrices is false"); }
  /// The converse: whether and how they are stored (as many i32 as matrices).
  virtual bool storesMatrices(Type) const { return false; }
  virtual void storeMatrices(Emitter &, Value, ValueRange, bool) const { llvm_unreachable("storesMatrices is false"); }
  /// Whether `warpBarrier` waits for all lanes of the warp alone; what they wrote to shared memory is visible to them after.
  virtual bool synchronisesWarps() const { return false; }
  virtual void warpBarrier(Emitter &) const { llvm_unreachable("synchronisesWarps is false"); }
  /// Whether copies from global to shared memory pass the registers by.
  virtual bool copiesAsync() const { return false; }
  /// Starts one of 4, 8 or 16 `bytes`, both addresses multiples of that; zeros where `inside` is false.
  virtual void copyAsync(Emitter &, Value /*to*/, Value /*from*/, int64_t, Value /*inside*/) const { llvm_unreachable("copiesAsync is false"); }
  /// Waits for all copies that this thread started.
  virtual void waitForCopies(Emitter &) const {}
  /// The number nearest to `x` whose bits an atom that cuts takes all.
  virtual Value rounded(Emitter &, Value x) const { return x; }
  /// One product. Operands come as vectors of `run()` neighbours along k, `c` as single numbers.
  virtual SmallVector<Value> multiply(Emitter &e, const Atom &atom, ValueRange a, ValueRange b, ValueRange c) const = 0;
};

/// The target of a chip.
std::unique_ptr<Target> createTarget(const Chip &chip, MLIRContext *context);

} // namespace fla::gpu

#endif
