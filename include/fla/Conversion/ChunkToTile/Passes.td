//===- Passes.td - chunk programs to tile kernels -----------*- tablegen -*-===//
#ifndef FLA_CONVERSION_CHUNKTOTILE_PASSES_TD
#define FLA_CONVERSION_CHUNKTOTILE_PASSES_TD

include "mlir/Pass/PassBase.td"

def Kernelize : Pass<"fla-kernelize", "::mlir::ModuleOp"> {
  let summary = "Rewrites chunk programs into kernels over tiles of static shape";
  let description = [{
    Chooses sizes and compute types, gives every input, state and output a
    buffer, and expands the operations on pairs of tokens: no gate, a scalar
    gate (one table of segment sums), a vector gate (a dyadic tree of dots).
    Example: test/Conversion/ChunkToTile/kernelize.mlir.
  }];
  let options = [
    ListOption<"dims", "dims", "std::string", "sizes, as K:128,V:128; unnamed ones: K = V = 128, others 64">,
    Option<"dtype", "dtype", "std::string", "\"f32\"", "storage type of inputs and outputs: f64, f32, bf16, f16">,
    ListOption<"dtypes", "dtypes", "std::string", "storage type of single arguments, as g:f32">,
    Option<"chunk", "chunk", "int64_t", "0", "tokens a chunk, a power of two; 0 chooses">,
    Option<"blocks", "blocks", "int64_t", "1",
      "column blocks of the grid, at most; gradients that lack the columns then come as one share a block. 1 where the program needs whole columns">,
    Option<"saveStates", "save-states", "bool", "false", "forward kernels store the state at each chunk's start">,
    Option<"shared", "shared", "int64_t", "0",
      "bytes of memory that the threads of a block share, which bound chunks, and column blocks from below; 0: a CPU's caches do">];
  let dependentDialects = ["::fla::tile::TileDialect", "::mlir::scf::SCFDialect", "::mlir::tensor::TensorDialect"];
}

#endif
