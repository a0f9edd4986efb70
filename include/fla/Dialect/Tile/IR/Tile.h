//===- Tile.h - the tile dialect --------------------------------*- C++ -*-===//
#ifndef FLA_DIALECT_TILE_IR_TILE_H
#define FLA_DIALECT_TILE_IR_TILE_H

#include "fla/Dialect/FLA/IR/FLA.h"
#include "fla/Dialect/Tile/Layout/LinearLayout.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/TensorEncoding.h"

#include "fla/Dialect/Tile/IR/TileDialect.h.inc"
#include "fla/Dialect/Tile/IR/TileEnums.h.inc"

namespace fla::tile {
class ReturnOp;
} // namespace fla::tile

#define GET_ATTRDEF_CLASSES
#include "fla/Dialect/Tile/IR/TileAttrs.h.inc"

#define GET_TYPEDEF_CLASSES
#include "fla/Dialect/Tile/IR/TileTypes.h.inc"

#define GET_OP_CLASSES
#include "fla/Dialect/Tile/IR/TileOps.h.inc"

namespace fla::tile {
/// The layout of a tensor after `fla-assign-layouts`, or none.
std::optional<LinearLayout> layoutOf(mlir::Type type);
} // namespace fla::tile

#endif
