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
struct Matrix {
  float at[largest][largest];
};

/// A fragment with its entries looked up beforehand.
struct Held {
  Slots slots;
  Fragment::Format format;
  unsigned elements, packed;    ///< elements in a slot
  std::vector<Entry> entries;   ///< of lane * elements + element
};
} // namespace

// The lower 13 bits of a TF32 operand are ignored (PTX ISA, "mma").
static float decode(uint64_t bits, Fragment::Format format) {
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
  return 0;
}

static void gather(ThreadBlock &b, const Held &held, unsigned first, Matrix &matrix) {
  for (unsigned i = 0; i < held.elements; ++i) {
    const uint64_t *values = b.slot(held.slots[i / held.packed]) + first;
    unsigned shift = i % held.packed * 16;
    for (unsigned lane = 0; lane < b.lanes; ++lane) {
      Entry entry = held.entries[lane * held.elements + i];
      matrix.at[entry.row][entry.column] = decode(values[lane] >> shift, held.format);
    }
  }
}

static void scatter(ThreadBlock &b, const Held &held, unsigned first, const Matrix &matrix) {
  for (unsigned i = 0; i < held.elements; ++i) {
    uint64_t *values = b.slot(held.slots[i]) + first;
    for (unsigned lane = 0; lane < b.lanes; ++lane) {
      Entry entry = held.entries[lane * held.elements + i];
      values[lane] = asBits(matrix.at[entry.row][entry.column]);
    }
  }
}

static void multiply(const MatrixProduct &p, const Matrix &a, const Matrix &b, Matrix &c) {
  for (unsigned i = 0; i < p.m; ++i)
    for (unsigned k = 0; k < p.k; ++k)
      for (unsigned j = 0; j < p.n; ++j)
        c.at[i][j] += a.at[i][k] * b.at[k][j];
}

static Held hold(const Fragment &fragment, const Slots &slots, unsigned lanes) {
  Held held{slots, fragment.format, fragment.elements, fragment.elements / unsigned(slots.size()), {}};
  for (unsigned lane = 0; lane < lanes; ++lane)
    for (unsigned i = 0; i < fragment.elements; ++i)
      held.entries.push_back(fragment.entry(lane, i));
  return held;
}

/// Of entries that several lanes hold, all must hold the same.
static void checkCopies(ThreadBlock &b, const Held &held, unsigned first, const Matrix &matrix, uint32_t site) {
  for (unsigned i = 0; i < held.elements; ++i)
    for (unsigned lane = 0; lane < b.lanes; ++lane) {
      Entry entry = held.entries[lane * held.elements + i];
      float got = decode(b.slot(held.slots[i / held.packed])[first + lane] >> i % held.packed * 16, held.format);
      float other = matrix.at[entry.row][entry.column];
      if (asBits(got) != asBits(other) && !(std::isnan(got) && std::isnan(other)))
        return b.error(ErrorKind::Operand, site, first + lane,
                       "expected all copies of row " + llvm::Twine(entry.row) + ", column " + llvm::Twine(entry.column) + " to be equal");
    }
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
