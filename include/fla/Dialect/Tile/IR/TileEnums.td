//===- TileEnums.td - enumerations of the tile dialect -------*- tablegen -*-===//
#ifndef FLA_DIALECT_TILE_IR_TILEENUMS_TD
#define FLA_DIALECT_TILE_IR_TILEENUMS_TD

include "mlir/IR/EnumAttr.td"

def Tile_BufferKind : I32EnumAttr<"BufferKind", "how a buffer is indexed", [
    I32EnumAttrCase<"token", 0>, I32EnumAttrCase<"param", 1>, I32EnumAttrCase<"value", 2>,
    I32EnumAttrCase<"state", 3>, I32EnumAttrCase<"saved", 4>]> {
  let cppNamespace = "::fla::tile";
}

def Tile_ReduceKind : I32EnumAttr<"ReduceKind", "", [I32EnumAttrCase<"add", 0>, I32EnumAttrCase<"max", 1>]> {
  let cppNamespace = "::fla::tile";
}

def Tile_Pairs : I32EnumAttr<"Pairs", "which entries of a tokens x past matrix count", [
    I32EnumAttrCase<"all", 0>, I32EnumAttrCase<"causal", 1>, I32EnumAttrCase<"strict", 2>, I32EnumAttrCase<"level", 3>,
    I32EnumAttrCase<"diagonal", 4>]> {
  let cppNamespace = "::fla::tile";
}

#endif
