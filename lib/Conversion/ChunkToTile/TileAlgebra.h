//===- TileAlgebra.h - builds tiles of static shape -------------*- C++ -*-===//
#ifndef FLA_LIB_CONVERSION_CHUNKTOTILE_TILEALGEBRA_H
#define FLA_LIB_CONVERSION_CHUNKTOTILE_TILEALGEBRA_H

#include "fla/Dialect/Tile/IR/Tile.h"
#include "mlir/IR/Builders.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/MathExtras.h"

namespace fla {

/// Sizes of dimensions and the type that tiles compute in.
struct TileSizes {
  llvm::StringMap<int64_t> dims;
  int64_t chunk = 64;
  mlir::Type computeType;
  /// The grid cuts this dimension into `blocks` parts, the last perhaps shorter; tiles hold one part.
  std::string splitDim;
  int64_t blocks = 1;

  /// Size in a tile, and in the caller's memory.
  int64_t of(mlir::StringAttr dim) const { return llvm::divideCeil(fullSize(dim), isSplit(dim) ? blocks : 1); }
  int64_t fullSize(mlir::StringAttr dim) const;
  bool isSplit(mlir::StringAttr dim) const { return blocks > 1 && dim.getValue() == splitDim; }
  llvm::SmallVector<int64_t> shape(llvm::ArrayRef<mlir::StringAttr> dims) const;
  /// The tile type of a value with named dimensions; elements f64 become the compute type.
  mlir::Type convert(mlir::Type type) const;
};

/// Emits tile operations; sums and products with zero tiles vanish.
class TileAlgebra {
public:
  TileAlgebra(mlir::OpBuilder &builder, const TileSizes &sizes) : builder(builder), sizes(sizes), loc(builder.getUnknownLoc()) {}
  void setLoc(mlir::Location location) { loc = location; }
  mlir::Location getLoc() const { return loc; }
  mlir::OpBuilder &getBuilder() { return builder; }
  const TileSizes &getSizes() const { return sizes; }

  mlir::Value splat(double value, mlir::Type tileType);
  mlir::Value zeros(llvm::ArrayRef<int64_t> shape);
  /// Repeats `value`, whose axes are `from`, over the axes `to`, by name.
  mlir::Value broadcast(mlir::Value value, llvm::ArrayRef<mlir::StringAttr> from, llvm::ArrayRef<mlir::StringAttr> to);
  /// Repeats one value a row over the rows of `type`.
  mlir::Value alongRows(mlir::Value perRow, mlir::Type type);
  mlir::Value add(mlir::Value a, mlir::Value b);
  mlir::Value sub(mlir::Value a, mlir::Value b);
  mlir::Value mul(mlir::Value a, mlir::Value b);
  mlir::Value div(mlir::Value a, mlir::Value b);
  mlir::Value neg(mlir::Value a);
  mlir::Value exp(mlir::Value a);
  mlir::Value maximum(mlir::Value a, mlir::Value b);
  mlir::Value reduce(tile::ReduceKind kind, mlir::Value value, int64_t axis);
  struct DotFlags {
    bool transposeA = false, transposeB = false;
    tile::Pairs pairs = tile::Pairs::all;
    int64_t level = 0;
  };
  mlir::Value dot(mlir::Value a, mlir::Value b, DotFlags flags);
  mlir::Value slice(mlir::Value value, llvm::ArrayRef<int64_t> offsets, llvm::ArrayRef<int64_t> sizes, llvm::ArrayRef<int64_t> strides);
  mlir::Value insert(mlir::Value value, mlir::Value into, llvm::ArrayRef<int64_t> offsets, llvm::ArrayRef<int64_t> strides);
  /// Same elements, other shape.
  mlir::Value reshape(mlir::Value value, llvm::ArrayRef<int64_t> shape);
  bool isZero(mlir::Value value);

private:
  mlir::OpBuilder &builder;
  const TileSizes &sizes;
  mlir::Location loc;
};

llvm::ArrayRef<int64_t> shapeOf(mlir::Value value);

} // namespace fla

#endif
