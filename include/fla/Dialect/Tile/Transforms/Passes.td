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

def HoistScales : Pass<"fla-hoist-scales", "::mlir::ModuleOp"> {
  let summary = "Moves factors of a product's operands behind the product";
  let description = [{
    For targets whose products take operands best as they were loaded. A factor that
    is one number a row of the result, one a column or one for all scales the product
    in place of its operand, if that leaves what was loaded, or costs no more. Masks
    of rows past the end of the sequence go where a factor is loaded as zero there.
    Example: test/Dialect/Tile/Transforms/hoist-scales.mlir.
  }];
  let dependentDialects = ["::fla::tile::TileDialect", "::mlir::arith::ArithDialect"];
}

def FissionLoops : Pass<"fla-fission-loops", "::mlir::ModuleOp"> {
  let summary = "Moves what depends on no state out of the loop over chunks, into a kernel over chunks";
  let description = [{
    A kernel that carries states from chunk to chunk keeps what reads them. Products
    of tokens, inverses, sums of gates and what else costs more than a load and
    elementwise arithmetic is computed before by a kernel `<name>_chunks` whose grid
    runs over the chunks as well. It stores what the loop needs in buffers of kind
    `saved` and role `temp`: an elementwise combination rather than its parts, unless
    those are small; matrices that are only operands of products in the type that
    products take, the rest in the compute type. Stores of what depends on no state
    move along. A product restricted to pairs of tokens reads all of a stored matrix
    that is zero for other pairs.

    What differs between blocks of columns stays in the loop. Where all of this would
    take twice the memory of the kernel's own buffers, or in a reverse loop as much as
    they do, only matrices that are operands of products are stored. Kernels stay
    whole of which less than a quarter of such work would leave the loop.
    Example: test/Dialect/Tile/Transforms/fission-loops.mlir.
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
    nothing; other matrices and vectors are held row by row, tiles of higher rank by
    columns. What runs along the tokens (running
    sums, scans, the triangular inverse) holds whole columns in a thread. Reductions
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
