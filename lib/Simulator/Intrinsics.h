//===- Intrinsics.h - what the vendors' intrinsics have in common -*- C++ -*-===//
#ifndef FLA_LIB_SIMULATOR_INTRINSICS_H
#define FLA_LIB_SIMULATOR_INTRINSICS_H

#include "ThreadBlock.h"

namespace fla::sim {

/// result = f(block, thread), for a register that tells a thread where it is.
template <class F> void compileIdentity(mlir::Operation &op, Compiler &c, F f) {
  Slot target = c.define(op.getResult(0))[0];
  uint64_t mask = lowBits(elementOf(op.getResult(0).getType()).bits);
  c.step([=](ThreadBlock &b) {
    for (unsigned t = b.begin(); t < b.end(); ++t)
      b.slot(target)[t] = uint64_t(f(b, t)) & mask;
  });
}

template <uint64_t value> void compileFixed(mlir::Operation &op, Compiler &c) { c.rename(op.getResult(0), {c.constant(value)}); }

/// Hints and fences without a meaning for lockstep execution.
inline void compileIgnored(mlir::Operation &, Compiler &) {}

//===----------------------------------------------------------------------===//
// Matrix products
//===----------------------------------------------------------------------===//

/// Which entry of a matrix a lane's element is.
struct Entry {
  unsigned row, column;
};
using EntryOf = Entry (*)(unsigned lane, unsigned element);

/// One operand of a warp-wide product: which lane holds what, and how.
struct Fragment {
  EntryOf entry;
  unsigned elements; ///< of a lane
  enum Format { F16, BF16, TF32, F32 } format;
};

/// D = A B + C for a whole warp; A is m by k, B is k by n, C and D are m by n, in fp32.
struct MatrixProduct {
  unsigned m, n, k;
  Fragment a, b, c;
};

/// The product's operands. 16-bit elements may be packed into wider slots, the
/// first in the low bits.
struct ProductSlots {
  Slots a, b, c, d;
};

/// `product` must outlive the program.
void compileProduct(mlir::Operation &op, Compiler &c, const MatrixProduct &product, const ProductSlots &slots);

} // namespace fla::sim

#endif // FLA_LIB_SIMULATOR_INTRINSICS_H
