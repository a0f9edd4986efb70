//===- Passes.td - passes on the chunk dialect --------------*- tablegen -*-===//
#ifndef FLA_DIALECT_CHUNK_TRANSFORMS_PASSES_TD
#define FLA_DIALECT_CHUNK_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

def Differentiate : Pass<"fla-differentiate", "::mlir::ModuleOp"> {
  let summary = "Adds the reverse program of each forward chunk program";
  let description = [{
    Reverse mode over the operations of a chunk, one rule each. The reverse
    program visits the chunks backwards, recomputes a chunk's values from the
    states saved at its start, and carries the gradients of the states.
    Example: test/Dialect/Chunk/Transforms/differentiate.mlir.
  }];
  let options = [Option<"forward", "forward", "std::string", "\"keep\"",
    "what becomes of the forward program: keep, drop, or replay (it only recomputes the states)">];
  let dependentDialects = ["::fla::chunk::ChunkDialect"];
}

#endif
