//===- Passes.td - passes on the tile dialect ---------------*- tablegen -*-===//
#ifndef FLA_DIALECT_TILE_TRANSFORMS_PASSES_TD
#define FLA_DIALECT_TILE_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

def SimplifyTiles : Pass<"fla-simplify-tiles", "::mlir::ModuleOp"> {
  let summary = "Leaves less work for the same tiles";
  let description = [{
    Runs canonicalisation, common subexpressions and loop-invariant code motion
    over kernels, so that what depends on parameters alone (a constant decay's
    table) is computed once a head. A sum with a product that nothing else reads
    becomes the product's `init`, and a mask of rows past the sequence goes where
    they are loaded, since they load as zero.
    Example: test/Dialect/Tile/Transforms/simplify-tiles.mlir.
  }];
  let dependentDialects = ["::fla::tile::TileDialect"];
}

def PadTiles : Pass<"fla-pad-tiles", "::mlir::ModuleOp"> {
  let summary = "Makes every axis of a kernel's tiles a power of two";
  let description = [{
    For targets whose threads hold tiles by the bits of their coordinates. Loads and
    stores move tiles that are larger than their buffers. What was added is cleared
    where it would meet a tile's own elements (the axis that a product or a
    reduction sums over), unless it is known to be neutral there: zero beyond loads,
    products of zeros, what `arith` and `math` fold such numbers to.

    Slices that would reach beyond their tile pass through a larger one; flattened
    axes that are no powers of two, but for the first, become `tile.reshape`.
    Example: test/Dialect/Tile/Transforms/pad-tiles.mlir.
  }];
  let dependentDialects = ["::fla::tile::TileDialect", "::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect"];
}

def AssignLayouts : Pass<"fla-assign-layouts", "::mlir::ModuleOp"> {
  let summary = "Says which thread holds which element of each tile";
  let description = [{
    Matrices at least as large as the target's accumulator are held as accumulators
    are, whatever made them, so that elementwise work between products moves
    nothing; other matrices and long vectors are held row by row, short vectors by every
    warp, tiles of higher rank by columns. Scans hold whole columns in a thread. Reductions
    drop an axis, broadcasts take the part of their result's layout. Where these
    disagree a `tile.convert_layout` is inserted; what is cheap (constants, masks,
    broadcasts) is computed again instead.
    Example: test/Dialect/Tile/Transforms/assign-layouts.mlir.
  }];
  let options = [
    Option<"lanes", "lanes", "int64_t", "32", "threads of a warp">,
    Option<"warps", "warps", "int64_t", "8", "warps of a block">,
    Option<"accumulator", "accumulator", "std::string", "", "layout of one warp's accumulator, as `16x8 #tile.layout<...>`; empty for none">];
  let dependentDialects = ["::fla::tile::TileDialect"];
}

#endif
