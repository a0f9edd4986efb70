//===- Passes.td - passes on the fla dialect ----------------*- tablegen -*-===//
#ifndef FLA_DIALECT_FLA_TRANSFORMS_PASSES_TD
#define FLA_DIALECT_FLA_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

def SpecializeRecurrence : Pass<"fla-specialize", "::mlir::ModuleOp"> {
  let summary = "Fixes the inputs that a caller leaves out to their defaults";
  let description = [{
    An argument named in `absent` must carry `default`; it is replaced by that
    constant, and decays by e^0 and factors of 1 disappear, so that the class of
    the recurrence follows from the inputs that are there.
    Example: test/Dialect/FLA/Transforms/specialize-recurrence.mlir.
  }];
  let options = [ListOption<"absent", "absent", "std::string", "arguments that are left out">];
  let dependentDialects = ["::mlir::arith::ArithDialect"];
}

def NormalizeRecurrence : Pass<"fla-normalize-recurrence", "::mlir::ModuleOp"> {
  let summary = "Rewrites recurrences into canonical programs of affine and elementwise states";
  let description = [{
    Orders the states into strata, brings each matrix state into the form "decay, then rank-1
    writes" (`fla.affine`) and each elementwise state into `fla.scan`, and moves
    reads of other versions of a state to canonical ones. A step that is not
    affine in its state is rejected at the operation that is to blame.
    Example: test/Dialect/FLA/Transforms/normalize-recurrence.mlir.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::math::MathDialect"];
}

#endif
