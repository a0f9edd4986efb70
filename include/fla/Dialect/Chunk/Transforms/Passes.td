//===- Passes.td - passes on the chunk dialect --------------*- tablegen -*-===//
#ifndef FLA_DIALECT_CHUNK_TRANSFORMS_PASSES_TD
#define FLA_DIALECT_CHUNK_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

def Distribute : Pass<"fla-distribute", "::mlir::ModuleOp"> {
  let summary = "Moves what needs whole columns out of the scan, into programs before and after it";
  let description = [{
    So that a grid may cut the columns of a state into blocks. Operations on
    inputs alone that sum over columns, or have none, form a prologue; operations
    that sum over columns of what was read (an output norm, a softmax) an
    epilogue; values cross between programs by name. The backward of each part
    runs apart: a prologue's once, on the summed gradients of all blocks. A
    program whose states need whole columns is left alone.

    With `largest` only programs with a state of more elements are taken apart. A
    state may then also be cut by rows (features): reads of it become shares of a
    sum, which an epilogue adds, where all that the scan does with them is linear.
    The attribute `split` names the dimension along which a program is to be cut.
    Example: test/Dialect/Chunk/Transforms/distribute.mlir.
  }];
  let options = [
    ListOption<"dims", "dims", "std::string", "sizes, as K:128,V:128; unnamed ones: K = V = 128, others 64">,
    Option<"largest", "largest", "int64_t", "0", "elements of a state, axes counted as powers of two, that a block can hold; 0: take every program apart">,
    Option<"ifNeeded", "if-needed", "bool", "false", "leave alone programs whose columns can be cut as they are">];
  let dependentDialects = ["::fla::chunk::ChunkDialect"];
}

def Differentiate : Pass<"fla-differentiate", "::mlir::ModuleOp"> {
  let summary = "Adds the reverse program of each forward chunk program";
  let description = [{
    Reverse mode over the operations of a chunk, one rule each. The reverse
    program visits the chunks backwards, recomputes a chunk's values from the
    states saved at its start, and carries the gradients of the states. It says
    how much work for pairs of tokens its forward has (`pairs`), so that both
    choose the same chunk.
    Example: test/Dialect/Chunk/Transforms/differentiate.mlir.
  }];
  let options = [Option<"forward", "forward", "std::string", "\"keep\"",
    "what becomes of the forward program: keep, drop, or replay (it only recomputes the states)">];
  let dependentDialects = ["::fla::chunk::ChunkDialect"];
}

#endif
