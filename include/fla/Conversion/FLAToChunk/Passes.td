//===- Passes.td - fla programs to chunk programs -----------*- tablegen -*-===//
#ifndef FLA_CONVERSION_FLATOCHUNK_PASSES_TD
#define FLA_CONVERSION_FLATOCHUNK_PASSES_TD

include "mlir/Pass/PassBase.td"

def FormChunks : Pass<"fla-form-chunks", "::mlir::ModuleOp"> {
  let summary = "Rewrites canonical programs into one scan over chunks of tokens";
  let description = [{
    Per-token values gain a leading `tokens` dimension. A matrix state becomes
    scores between the tokens of a chunk, a triangular solve for rows that read
    the state, and one update (the residual form: Y = T (R_v + R_k S)); an
    elementwise state becomes a scan. Gates stay sums of logarithms.
    Example: test/Conversion/FLAToChunk/form-chunks.mlir.
  }];
  let dependentDialects = ["::fla::chunk::ChunkDialect"];
}

#endif
