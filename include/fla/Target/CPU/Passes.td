//===- Passes.td - passes of the CPU target -----------------*- tablegen -*-===//
#ifndef FLA_TARGET_CPU_PASSES_TD
#define FLA_TARGET_CPU_PASSES_TD

include "mlir/Pass/PassBase.td"

def ConvertTileToLLVM : Pass<"fla-convert-tile-to-llvm", "::mlir::ModuleOp"> {
  let summary = "Turns each tile kernel into a function of the LLVM dialect for a CPU";
  let description = [{
    A kernel becomes `void name(const Buffer *, const GridPoint *, void *workspace)`
    (include/fla/Runtime/Kernel.h). Every tile that is not computed inside its
    consumer's loop gets a place in the workspace; its size is the function's
    attribute `fla.workspace`. Products become calls of private functions, one
    for each combination of sizes.

    ```mlir
    tile.kernel @twice(%x : !tile.buffer<token, 8xf32>, out %y : !tile.buffer<token, 8xf32>)
        attributes {chunk = 4 : i64, blocks = 1 : i64, over_chunks} {
      %c = tile.chunk_id
      %a = tile.load %x[%c] : !tile.buffer<token, 8xf32> -> tensor<4x8xf32>
      %b = arith.addf %a, %a : tensor<4x8xf32>
      tile.store %b, %y[%c] : tensor<4x8xf32>, !tile.buffer<token, 8xf32>
    }
    ```
    becomes
    ```mlir
    llvm.func @twice(%buffers: !llvm.ptr, %point: !llvm.ptr, %workspace: !llvm.ptr)
        attributes {fla.workspace = 384 : i64} { ... }
    ```
    Example: test/Target/CPU/convert-tile-to-llvm.mlir.
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect", "::mlir::arith::ArithDialect", "::mlir::math::MathDialect",
                           "::mlir::scf::SCFDialect", "::mlir::cf::ControlFlowDialect"];
  let options = [
    Option<"vectorBytes", "vector-bytes", "int64_t", "0", "bytes of a vector register, 0 for the host's">
  ];
}

#endif
