//===- FLADialect.td - the fla dialect ----------------------*- tablegen -*-===//
//
// What the paper says: one token step of a linear-attention recurrence.
//
//===----------------------------------------------------------------------===//
#ifndef FLA_DIALECT_FLA_IR_FLADIALECT_TD
#define FLA_DIALECT_FLA_IR_FLADIALECT_TD

include "mlir/IR/OpBase.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/BuiltinAttributeInterfaces.td"
include "mlir/IR/TensorEncoding.td"

def FLA_Dialect : Dialect {
  let name = "fla";
  let cppNamespace = "::fla";
  let summary = "One token step of a linear-attention recurrence";
  let description = [{
    A definition says what happens at one token, over the reals (`f64`): the
    state decays, is read, is written by rank-1 terms and is read again.
    Elementwise work is spelled in `arith` and `math`; this dialect owns only
    what is specific to recurrences. Values are `f64` scalars or
    `tensor<?x..xf64, #fla.dims<...>>`: every axis has a name and never a
    position, and sizes are chosen when a definition is compiled.
  }];
  let useDefaultAttributePrinterParser = 1;
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::math::MathDialect"];
}

class FLA_Attr<string name, string attrMnemonic, list<Trait> traits = []>
    : AttrDef<FLA_Dialect, name, traits> {
  let mnemonic = attrMnemonic;
}

def FLA_DimsAttr : FLA_Attr<"Dims", "dims",
    [DeclareAttrInterfaceMethods<VerifiableTensorEncoding>]> {
  let summary = "Names of the axes of a tensor";
  let description = [{
    The encoding of every tensor of the `fla` and `chunk` phases: one name an
    axis, outermost first. A name is an identifier (`K`), or an expression of
    names in quotes (`"1 + D + D*D"`, `"2*R"`), evaluated when sizes are known.
    `tokens` and `past` are reserved for the tokens of a chunk.

    Constraints:
    - (C1) there is one name for each axis of the tensor;
    - (C2) no name is empty and no name occurs twice.
  }];
  let parameters = (ins ArrayRefParameter<"::mlir::StringAttr">:$names);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// Position of `name` among the axes, or -1.
    int64_t find(::llvm::StringRef name) const;
    static DimsAttr get(::mlir::MLIRContext *context, ::llvm::ArrayRef<::llvm::StringRef> names);
  }];
  let builders = [];
}

def FLA_ScanKindAttr : I32EnumAttr<"ScanKind", "semiring of an elementwise recurrence", [
    I32EnumAttrCase<"linear", 0>, I32EnumAttrCase<"log", 1>, I32EnumAttrCase<"max", 2>]> {
  let cppNamespace = "::fla";
}

#endif
