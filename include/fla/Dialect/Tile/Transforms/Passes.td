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

#endif
