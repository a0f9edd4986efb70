//===- F2.h - vectors over F2 as bits of a number ---------------*- C++ -*-===//
//
// Coordinates of a tile become one number: the bits of the last axis lowest.
// `Span` says which vectors are sums of others, and of which ones.
//
//===----------------------------------------------------------------------===//
#ifndef FLA_LIB_DIALECT_TILE_LAYOUT_F2_H
#define FLA_LIB_DIALECT_TILE_LAYOUT_F2_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVectorExtras.h"
#include "llvm/ADT/bit.h"
#include "llvm/Support/MathExtras.h"

#include <cstdint>
#include <optional>

namespace fla::tile::f2 {

using Vector = uint64_t;

/// The coordinates of an element of a tile (sizes are powers of two) as one vector.
inline Vector flatten(llvm::ArrayRef<int64_t> shape, llvm::ArrayRef<int32_t> at) {
  Vector flat = 0;
  for (auto [size, x] : llvm::zip_equal(shape, at))
    flat = (flat << llvm::Log2_64(size)) | static_cast<Vector>(x);
  return flat;
}

inline llvm::SmallVector<Vector> flattenAll(llvm::ArrayRef<int64_t> shape, llvm::ArrayRef<llvm::SmallVector<int32_t, 4>> bases) {
  return llvm::map_to_vector(bases, [&](llvm::ArrayRef<int32_t> basis) { return flatten(shape, basis); });
}

/// The space spanned by vectors that are inserted one by one, at most 64.
class Span {
public:
  Span() = default;
  explicit Span(llvm::ArrayRef<Vector> vectors) { insert(vectors); }

  /// True if `vector` is no sum of those inserted earlier.
  bool insert(Vector vector) {
    Row row = reduce({vector, Vector(1) << inserted++});
    if (row.value)
      rows.push_back(row);
    return row.value != 0;
  }
  void insert(llvm::ArrayRef<Vector> vectors) {
    for (Vector vector : vectors)
      insert(vector);
  }
  int64_t rank() const { return rows.size(); }
  bool contains(Vector vector) const { return reduce({vector, 0}).value == 0; }
  /// The inserted vectors that sum to `vector` (bit i is the one inserted as number i), or none.
  /// Vectors that were no new direction when inserted are never used.
  std::optional<Vector> solve(Vector vector) const {
    Row row = reduce({vector, 0});
    return row.value ? std::nullopt : std::optional<Vector>(row.terms);
  }

private:
  struct Row {
    Vector value, terms;
  };
  /// Each row's highest bit differs from those of the earlier rows, so one pass in order
  /// may set a bit again that a later row clears, never one of an earlier row.
  Row reduce(Row row) const {
    for (const Row &other : rows)
      if (row.value & llvm::bit_floor(other.value))
        row = {row.value ^ other.value, row.terms ^ other.terms};
    return row;
  }
  llvm::SmallVector<Row, 16> rows;
  unsigned inserted = 0;
};

/// The image of a number whose bits are mapped to `images`.
inline Vector combine(llvm::ArrayRef<Vector> images, uint64_t number) {
  Vector sum = 0;
  for (auto [bit, image] : llvm::enumerate(images))
    if (number >> bit & 1)
      sum ^= image;
  return sum;
}

} // namespace fla::tile::f2

#endif
