//===- Product.cpp - warp-wide matrix products ----------------------------===//
//
// Gathers the operands of all lanes into matrices, multiplies, and hands the
// result out again. Products of 16-bit and TF32 numbers are exact in fp32; sums
// are rounded to fp32 after each term, in the order of k. (The hardware adds
// several terms before it rounds: results agree to a few units in the last
// place of the largest term.)
//
//===----------------------------------------------------------------------===//
#include "Intrinsics.h"

using namespace fla::sim;

static constexpr unsigned largest = 32;

namespace {
/// Rows are `largest` numbers apart.
struct Matrix {
  float at[largest * largest];
};

/// A fragment with its entries looked up beforehand.
struct Held {
  Slots slots;
  Fragment::Format format;
  unsigned elements, packed;   ///< elements in a slot
  std::vector<uint16_t> where; ///< in the matrix: of element * lanes + lane
};
} // namespace

// The lower 13 bits of a TF32 operand are ignored (PTX ISA, "mma").
template <Fragment::Format format> static float decode(uint64_t bits) {
  switch (format) {
  case Fragment::F16:
    return F16::get(bits);
  case Fragment::BF16:
    return BF16::get(bits);
  case Fragment::TF32:
    return asFloat(static_cast<uint32_t>(bits) & ~0x1fffu);
  case Fragment::F32:
    return F32::get(bits);
  }
}

/// Calls f(element * lanes + lane, number) for all that a warp holds.
template <Fragment::Format format, class F> static void forNumbers(ThreadBlock &b, const Held &held, unsigned first, F f) {
  for (unsigned i = 0; i < held.elements; ++i) {
    const uint64_t *values = b.slot(held.slots[i / held.packed]) + first;
    unsigned shift = i % held.packed * 16;
    for (unsigned lane = 0; lane < b.lanes; ++lane)
      f(i * b.lanes + lane, decode<format>(values[lane] >> shift));
  }
}

template <class F> static void forNumbers(ThreadBlock &b, const Held &held, unsigned first, F f) {
  switch (held.format) {
  case Fragment::F16:
    return forNumbers<Fragment::F16>(b, held, first, f);
  case Fragment::BF16:
    return forNumbers<Fragment::BF16>(b, held, first, f);
  case Fragment::TF32:
    return forNumbers<Fragment::TF32>(b, held, first, f);
  case Fragment::F32:
    return forNumbers<Fragment::F32>(b, held, first, f);
  }
}

static void gather(ThreadBlock &b, const Held &held, unsigned first, Matrix &matrix) {
  forNumbers(b, held, first, [&](unsigned i, float number) { matrix.at[held.where[i]] = number; });
}

static void scatter(ThreadBlock &b, const Held &held, unsigned first, const Matrix &matrix) {
  for (unsigned i = 0; i < held.elements; ++i) {
    uint64_t *values = b.slot(held.slots[i]) + first;
    for (unsigned lane = 0; lane < b.lanes; ++lane)
      values[lane] = asBits(matrix.at[held.where[i * b.lanes + lane]]);
  }
}

template <unsigned n> static void multiply(const MatrixProduct &p, const Matrix &a, const Matrix &b, Matrix &c) {
  for (unsigned i = 0; i < p.m; ++i) {
    float *sum = c.at + i * largest;
    for (unsigned k = 0; k < p.k; ++k)
      for (unsigned j = 0; j < n; ++j)
        sum[j] += a.at[i * largest + k] * b.at[k * largest + j];
  }
}

static void multiply(const MatrixProduct &p, const Matrix &a, const Matrix &b, Matrix &c) {
  if (p.n == 8)
    return multiply<8>(p, a, b, c);
  return p.n == 16 ? multiply<16>(p, a, b, c) : multiply<32>(p, a, b, c);
}

static Held hold(const Fragment &fragment, const Slots &slots, unsigned lanes) {
  Held held{slots, fragment.format, fragment.elements, fragment.elements / unsigned(slots.size()), {}};
  for (unsigned i = 0; i < fragment.elements; ++i)
    for (unsigned lane = 0; lane < lanes; ++lane) {
      Entry entry = fragment.entry(lane, i);
      held.where.push_back(entry.row * largest + entry.column);
    }
  return held;
}

/// Of entries that several lanes hold, all must hold the same.
static void checkCopies(ThreadBlock &b, const Held &held, unsigned first, const Matrix &matrix, uint32_t site) {
  forNumbers(b, held, first, [&](unsigned i, float number) {
    float other = matrix.at[held.where[i]];
    if (asBits(number) != asBits(other) && !(std::isnan(number) && std::isnan(other)))
      b.error(ErrorKind::Operand, site, first + i % b.lanes,
              "expected all copies of row " + llvm::Twine(held.where[i] / largest) + ", column " + llvm::Twine(held.where[i] % largest) +
                  " to be equal");
  });
}

void fla::sim::compileProduct(mlir::Operation &op, Compiler &c, const MatrixProduct &p, const ProductSlots &slots) {
  auto fits = [](const Fragment &fragment, const Slots &held) {
    unsigned count = held.size();
    return count == fragment.elements || (count * 2 == fragment.elements && fragment.format <= Fragment::BF16);
  };
  if (!fits(p.a, slots.a) || !fits(p.b, slots.b) || slots.c.size() != p.c.elements || slots.d.size() != p.c.elements)
    return c.unsupported(op, "operands of another size than the instruction's");
  Held a = hold(p.a, slots.a, c.lanes), b = hold(p.b, slots.b, c.lanes), from = hold(p.c, slots.c, c.lanes), to = hold(p.c, slots.d, c.lanes);
  bool copies = p.a.elements * c.lanes > p.m * p.k;
  uint32_t site = c.site(op);
  c.step([=, &p](ThreadBlock &block) {
    block.forWarps(site, [&](unsigned, unsigned first) {
      Matrix left, right, sum;
      gather(block, a, first, left);
      gather(block, b, first, right);
      gather(block, from, first, sum);
      if (copies) {
        checkCopies(block, a, first, left, site);
        checkCopies(block, b, first, right, site);
      }
      multiply(p, left, right, sum);
      scatter(block, to, first, sum);
    });
  });
}
