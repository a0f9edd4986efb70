//===- Passes.td - from tiles with layouts to a GPU -----------*- tablegen -*-===//
#ifndef FLA_TARGET_GPU_PASSES_TD
#define FLA_TARGET_GPU_PASSES_TD

include "mlir/Pass/PassBase.td"

def ConvertTileToGPU : Pass<"fla-convert-tile-to-gpu", "::mlir::ModuleOp"> {
  let summary = "Turns each tile kernel into the work of one thread of a GPU";
  let description = [{
    A tile becomes the registers that its layout gives a thread; what other threads
    need passes through shared memory, with barriers where a read follows a write or
    a write a read. Products are the chip's matrix instructions where a tile is large
    enough, sums of single products elsewhere. Control flow stays structured.
    Example: test/Target/GPU/convert-tile-to-gpu.test.
  }];
  let options = [
    Option<"chip", "chip", "std::string", "\"sm_90\"", "sm_80 ... gfx1201">,
    Option<"warps", "warps", "int64_t", "8", "warps of a block, as in fla-assign-layouts">,
    Option<"multiply", "multiply", "std::string", "", "operands of products: bf16, f16, tf32, f32; empty: as the first per-token argument is stored">];
}

def LayoutsOfChip : Pass<"fla-layouts-of-chip", "::mlir::ModuleOp"> {
  let summary = "Runs fla-assign-layouts with a chip's warps and accumulators";
  let description = [{
    Products take the type that the first per-token argument is stored in; f32 as
    `precision` says: exact (`ieee`) or rounded to tf32.
    Example: test/Target/GPU/convert-tile-to-gpu.test.
  }];
  let options = [
    Option<"chip", "chip", "std::string", "\"sm_90\"", "sm_80 ... gfx1201">,
    Option<"precision", "precision", "std::string", "\"ieee\"", "how f32 is multiplied: ieee or tf32">];
  let dependentDialects = ["::fla::tile::TileDialect"];
}

#endif
