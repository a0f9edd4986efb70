//===- TileOps.td - the tile dialect ------------------------*- tablegen -*-===//
//
// Kernels: a grid, loads, dots, carries. Shapes are static, vendors unknown.
//
//===----------------------------------------------------------------------===//
#ifndef FLA_DIALECT_TILE_IR_TILEOPS_TD
#define FLA_DIALECT_TILE_IR_TILEOPS_TD

include "fla/Dialect/FLA/IR/FLADialect.td"
include "fla/Dialect/Tile/IR/TileEnums.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "mlir/IR/OpAsmInterface.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/IR/TensorEncoding.td"

def Tile_Dialect : Dialect {
  let name = "tile";
  let cppNamespace = "::fla::tile";
  let summary = "Kernels over tiles, independent of any vendor";
  let description = [{
    A `tile.kernel` is what one point of a grid over sequences, heads and column
    blocks does. Its values are tensors of static shape in the compute type
    (f32, or f64), its arguments typed buffers in the caller's memory. Elementwise work is
    `arith` and `math`, loops are `scf.for`, slices are `tensor` operations.
  }];
  let dependentDialects = ["::fla::FLADialect", "::mlir::arith::ArithDialect", "::mlir::math::MathDialect",
                           "::mlir::scf::SCFDialect", "::mlir::tensor::TensorDialect"];
  let useDefaultTypePrinterParser = 1;
  let useDefaultAttributePrinterParser = 1;
}


def Tile_BufferType : TypeDef<Tile_Dialect, "Buffer"> {
  let mnemonic = "buffer";
  let summary = "A tensor of the caller, seen from one sequence and head";
  let description = [{
    `!tile.buffer<token, 128xbf16>` is `[batch, time, head, 128]`; `param` is
    `[head, ...]`, `value` one number, `state` `[sequence, head, ...]`, `saved`
    `[chunk slot, head, ...]`. The shape is that of one element of it; strides of the outer
    axes are run-time values, the inner axes are contiguous.
    A scalar is `!tile.buffer<token, f32>`.
  }];
  let parameters = (ins EnumParameter<Tile_BufferKind>:$kind, ArrayRefParameter<"int64_t">:$shape, "::mlir::Type":$elementType);
  let hasCustomAssemblyFormat = 1;
}

def Tile_SharedType : TypeDef<Tile_Dialect, "Shared"> {
  let mnemonic = "shared";
  let summary = "Room for tiles that all threads of a block see";
  let description = [{
    `!tile.shared<2, 64x128xbf16>` holds two tiles of 64 x 128 numbers, one a stage,
    in the type that the caller stores them in; `!tile.shared<2, f32>` two numbers.
  }];
  let parameters = (ins "int64_t":$stages, ArrayRefParameter<"int64_t">:$shape, "::mlir::Type":$elementType);
  let hasCustomAssemblyFormat = 1;
}

def Tile_LayoutAttr : AttrDef<Tile_Dialect, "Layout", [DeclareAttrInterfaceMethods<VerifiableTensorEncoding>]> {
  let mnemonic = "layout";
  let summary = "Which thread holds which element of a tile";
  let description = [{
    The encoding of a tensor after `fla-assign-layouts`: coordinates of each bit of
    the register, the lane and the warp (see LinearLayout.h). The accumulator of
    mma.m16n8 is
    `#tile.layout<registers = [[0, 1], [8, 0]], lanes = [[0, 2], [0, 4], [1, 0], [2, 0], [4, 0]], warps = []>`.
    Coordinates are flat here, `rank` of them a bit.
  }];
  let parameters = (ins "int64_t":$rank, ArrayRefParameter<"int32_t">:$registers, ArrayRefParameter<"int32_t">:$lanes,
                    ArrayRefParameter<"int32_t">:$warps);
  let hasCustomAssemblyFormat = 1;
  let extraClassDeclaration = [{
    static LayoutAttr get(::mlir::MLIRContext *context, const LinearLayout &layout);
    /// The map itself, for a tile of this shape.
    LinearLayout getLayout(::llvm::ArrayRef<int64_t> shape) const;
  }];
}

class Tile_Op<string mnemonic, list<Trait> traits = []> : Op<Tile_Dialect, mnemonic, traits>;
class Tile_PureOp<string mnemonic, list<Trait> traits = []> : Tile_Op<mnemonic, !listconcat(traits, [Pure])>;
def Tile_Tensor : TensorOf<[AnyFloat]>;
def Tile_Value : AnyTypeOf<[AnyFloat, TensorOf<[AnyFloat]>], "a float or a tensor of floats">;

def Tile_KernelOp : Tile_Op<"kernel", [IsolatedFromAbove, Symbol, SingleBlockImplicitTerminator<"ReturnOp">,
    DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmBlockArgumentNames"]>]> {
  let summary = "What one point of the grid does";
  let description = [{
    The grid runs over sequences, value heads and column blocks (`blocks`); with
    `over_chunks` it also runs over the chunks of each sequence (a kernel without
    carries), `span` of them a point, otherwise the kernel loops over them itself. `outputs` marks the
    arguments that are written. `chunk` is the number of tokens of a chunk.

    Constraints: (C1) one name and one output mark for each argument; (C2) every
    argument is a `!tile.buffer`; (C3) `span` is positive.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, StrArrayAttr:$arg_names, DenseBoolArrayAttr:$outputs,
                       I64Attr:$chunk, I64Attr:$blocks, UnitAttr:$over_chunks,
                       DefaultValuedAttr<I64Attr, "1">:$span);
  let regions = (region SizedRegion<1>:$body);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    ::llvm::StringRef getArgName(unsigned i) { return ::llvm::cast<::mlir::StringAttr>(getArgNames()[i]).getValue(); }
  }];
}
def Tile_ReturnOp : Tile_Op<"return", [Terminator, Pure, HasParent<"KernelOp">]> {
  let summary = "Ends a kernel";
  let assemblyFormat = "attr-dict";
}

//===----------------------------------------------------------------------===//
// Grid and memory
//===----------------------------------------------------------------------===//

def Tile_NumChunksOp : Tile_PureOp<"num_chunks"> {
  let summary = "Number of chunks of this sequence, ceil(length / chunk)";
  let results = (outs Index:$result);
  let assemblyFormat = "attr-dict";
}
def Tile_ChunkIdOp : Tile_PureOp<"chunk_id"> {
  let summary = "The first chunk of this grid point (kernels `over_chunks`)";
  let results = (outs Index:$result);
  let assemblyFormat = "attr-dict";
}
def Tile_FirstBlockOp : Tile_PureOp<"first_block"> {
  let summary = "Whether this is the first of the column blocks";
  let results = (outs I1:$result);
  let assemblyFormat = "attr-dict";
}
def Tile_ValidOp : Tile_PureOp<"valid"> {
  let summary = "Which rows of a chunk lie inside the sequence";
  let arguments = (ins Index:$chunk);
  let results = (outs TensorOf<[I1]>:$result);
  let assemblyFormat = "$chunk attr-dict `:` type($result)";
}
def Tile_LoadOp : Tile_Op<"load", [MemoryEffects<[MemRead]>]> {
  let summary = "Loads a tile and converts it to the compute type";
  let description = [{
    `token` buffers yield `chunk x ...` rows, zero past the sequence's end, and
    `saved` buffers the chunk's value; both need the chunk's number. A buffer
    that the caller left out reads as `absent` (0 unless given). Where one inner
    axis of the result is narrower than the buffer's, the block index selects the
    slice: of an axis of N elements, block b holds ceil(N / blocks) from
    b * ceil(N / blocks) on. Axes may also be larger than the buffer's, or the slice's:
    elements beyond it load as zero (as `absent` if the buffer is left out).

    Constraints: (C1) a chunk index is given iff the buffer is `token` or
    `saved`; (C2) the result has the buffer's axes, a leading chunk axis for
    `token`, and at most one narrower axis; (C3) a narrower axis holds its block's slice.
  }];
  let arguments = (ins Tile_BufferType:$buffer, Optional<Index>:$chunk, DefaultValuedAttr<F64Attr, "0.0">:$absent);
  let results = (outs Tile_Value:$result);
  let assemblyFormat = "$buffer (`[` $chunk^ `]`)? attr-dict `:` type($buffer) `->` type($result)";
  let hasVerifier = 1;
}
def Tile_StoreOp : Tile_Op<"store", [MemoryEffects<[MemWrite]>]> {
  let summary = "Stores a tile, converted to the buffer's type, inside the sequence only";
  let description = [{
    The converse of `tile.load`, with its constraints; a buffer that the caller left
    out is skipped, and so are elements beyond the buffer's extent.
  }];
  let arguments = (ins Tile_Value:$value, Tile_BufferType:$buffer, Optional<Index>:$chunk);
  let assemblyFormat = "$value `,` $buffer (`[` $chunk^ `]`)? attr-dict `:` type($value) `,` type($buffer)";
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Copies ahead of time
//===----------------------------------------------------------------------===//

def Tile_AllocOp : Tile_Op<"alloc", [MemoryEffects<[MemAlloc]>]> {
  let summary = "Room for the stages of a copied tile, until the kernel ends";
  let results = (outs Tile_SharedType:$result);
  let assemblyFormat = "attr-dict `:` type($result)";
}
def Tile_CopyOp : Tile_Op<"copy", [MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "Starts to copy a tile of a buffer into a stage";
  let description = [{
    What `tile.load` would give, as it is stored, arrives in the stage some time before
    the next `tile.wait` is done; until then nobody may read the stage, and nobody may
    still read what it held before.

    Constraints: those of `tile.load`, with the shape of a stage for that of a result,
    and (C4) the room's element type is the buffer's.
  }];
  let arguments = (ins Tile_BufferType:$buffer, Optional<Index>:$chunk, Tile_SharedType:$shared, Index:$stage, DefaultValuedAttr<F64Attr, "0.0">:$absent);
  let assemblyFormat = "$buffer (`[` $chunk^ `]`)? `,` $shared `[` $stage `]` attr-dict `:` type($buffer) `,` type($shared)";
  let hasVerifier = 1;
}
def Tile_WaitOp : Tile_Op<"wait", [MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "Waits until all copies that were started have arrived, and for all threads";
  let assemblyFormat = "attr-dict";
}
def Tile_ReadOp : Tile_Op<"read", [MemoryEffects<[MemRead]>]> {
  let summary = "The tile that a stage holds, in the compute type";
  let description = [{ Constraints: (C1) the result has the shape of a stage. }];
  let arguments = (ins Tile_SharedType:$shared, Index:$stage);
  let results = (outs Tile_Value:$result);
  let assemblyFormat = "$shared `[` $stage `]` attr-dict `:` type($shared) `->` type($result)";
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Tiles
//===----------------------------------------------------------------------===//

def Tile_ConvertLayoutOp : Tile_PureOp<"convert_layout"> {
  let summary = "The same tile, held by other threads";
  let description = [{ Constraints: (C1) operand and result differ in their encoding alone. }];
  let arguments = (ins AnyRankedTensor:$value);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$value attr-dict `:` type($value) `->` type($result)";
  let hasVerifier = 1;
}
def Tile_InsideOp : Tile_PureOp<"inside"> {
  let summary = "Which elements of a tile lie inside a box that begins at zero";
  let description = [{
    True where the coordinate along each axis is below that axis' bound.
    Constraints: (C1) one positive bound for each axis.
  }];
  let arguments = (ins DenseI64ArrayAttr:$bounds);
  let results = (outs TensorOf<[I1]>:$result);
  let assemblyFormat = "$bounds attr-dict `:` type($result)";
  let hasVerifier = 1;
}
def Tile_ReshapeOp : Tile_PureOp<"reshape"> {
  let summary = "The elements of a box of a tile, in another box";
  let description = [{
    Both boxes begin at zero; elements keep their row-major order. The result is zero
    beyond its box. (Where boxes are whole tiles, `tensor` operations say the same.)
    Constraints: (C1) one bound for each axis, none beyond its tile, and as many
    elements in both boxes.
  }];
  let arguments = (ins Tile_Tensor:$value, DenseI64ArrayAttr:$from, DenseI64ArrayAttr:$to);
  let results = (outs Tile_Tensor:$result);
  let assemblyFormat = "$value $from `to` $to attr-dict `:` type($value) `->` type($result)";
  let hasVerifier = 1;
}
def Tile_BroadcastOp : Tile_PureOp<"broadcast"> {
  let summary = "Repeats a tile along new axes";
  let description = [{
    `axes[i]` is the axis of the result that axis i of the operand becomes;
    empty for a scalar. Constraints: (C1) axes increase and sizes agree.
  }];
  let arguments = (ins AnyType:$value, DenseI64ArrayAttr:$axes);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$value $axes attr-dict `:` type($value) `->` type($result)";
  let hasVerifier = 1;
}
def Tile_ReduceOp : Tile_PureOp<"reduce"> {
  let summary = "Reduces one axis of a tile";
  let description = [{ The result lacks the axis; reducing a vector gives a scalar. }];
  let arguments = (ins Tile_ReduceKind:$kind, Tile_Tensor:$value, I64Attr:$axis);
  let results = (outs Tile_Value:$result);
  let assemblyFormat = "$kind $value `axis` $axis attr-dict `:` type($value) `->` type($result)";
  let hasVerifier = 1;
}
def Tile_TransposeOp : Tile_PureOp<"transpose"> {
  let summary = "Swaps the two axes of a matrix";
  let arguments = (ins Tile_Tensor:$value);
  let results = (outs Tile_Tensor:$result);
  let assemblyFormat = "$value attr-dict `:` type($value) `->` type($result)";
}

def Tile_DotOp : Tile_PureOp<"dot"> {
  let summary = "Product of two matrices, restricted to visible pairs of tokens";
  let description = [{
    `result[m,n] = init[m,n] + sum_k A[m,k] B[k,n]`, A read transposed with
    `transpose_a` (stored k x m), B with `transpose_b` (stored n x k); without
    `init` the sum starts from zero.

    `pairs` restricts the tokens x past matrix of the product, which is the
    result when `transpose_b` is set alone and A otherwise: entries (t, s) with
    s <= t (`causal`), s < t (`strict`), s = t (`diagonal`), or (`level`) t in the right and s in the left
    half of the same block of 2*level tokens. Other entries count as zero; they
    are zero in a restricted result, and are not read in a restricted A
    (with `transpose_a`, A is stored tokens x past and its transpose is used).

    Constraints: (C1) operands are matrices whose sizes agree; (C2) `level` is a
    power of two, set iff `pairs` is `level`; (C3) `init` has the result's type,
    and the result is not the restricted matrix.
  }];
  let arguments = (ins Tile_Tensor:$a, Tile_Tensor:$b, Optional<Tile_Tensor>:$init, UnitAttr:$transpose_a, UnitAttr:$transpose_b,
                       DefaultValuedAttr<Tile_Pairs, "Pairs::all">:$pairs, DefaultValuedAttr<I64Attr, "0">:$level);
  let results = (outs Tile_Tensor:$result);
  let assemblyFormat = [{
    $a `,` $b (`init` `(` $init^ `:` type($init) `)`)? (`pairs` `(` $pairs^ `)`)? (`level` $level^)? attr-dict `:` type($a) `,` type($b) `->` type($result)
  }];
  let extraClassDeclaration = [{
    /// True if `pairs` restricts the result, false if it restricts A.
    bool restrictsResult() { return getTransposeB() && !getTransposeA(); }
  }];
  let hasVerifier = 1;
}
def Tile_InverseOp : Tile_PureOp<"inverse", [AllTypesMatch<["value", "result"]>]> {
  let summary = "(I - M)^-1 of a strictly lower triangular M";
  let description = [{ By a dyadic tree: X_2h = X_h + X_h (M masked to level h) X_h, from X_1 = I. Entries of M on and above the diagonal are not read. }];
  let arguments = (ins Tile_Tensor:$value);
  let results = (outs Tile_Tensor:$result);
  let assemblyFormat = "$value attr-dict `:` type($value)";
}
def Tile_CumSumOp : Tile_PureOp<"cumsum", [AllTypesMatch<["value", "result"]>]> {
  let summary = "Running sum along the first axis";
  let arguments = (ins Tile_Tensor:$value, UnitAttr:$reverse, UnitAttr:$exclusive);
  let results = (outs Tile_Tensor:$result);
  let assemblyFormat = "$value attr-dict `:` type($value)";
}

//===----------------------------------------------------------------------===//
// Sums of gates over segments of tokens
//===----------------------------------------------------------------------===//

def Tile_SegSumOp : Tile_PureOp<"segsum"> {
  let summary = "Sums of a scalar gate over the tokens between two tokens";
  let description = [{
    `D[t,s] = sum of g over s+1..t`, over `s+1..t-1` with `pre`, for s < t (and s = t
    unless `strict` or `pre`); -inf for other pairs. By the recursion
    D[t,s] = D[t-1,s] + g[t]: no difference of sums, exact at g = -inf.
  }];
  let arguments = (ins Tile_Tensor:$gate, UnitAttr:$pre, UnitAttr:$strict);
  let results = (outs Tile_Tensor:$result);
  let assemblyFormat = "$gate attr-dict `:` type($gate) `->` type($result)";
}
def Tile_SegSumGradOp : Tile_PureOp<"segsum_grad"> {
  let summary = "Reverse mode of `tile.segsum`: the sum of D's gradient over the pairs around each token";
  let description = [{ `dg[l] = sum over visible t >= l > s of dD[t,s]`, over t > l > s with `pre`. Entries of invisible pairs are not read. }];
  let arguments = (ins Tile_Tensor:$value, UnitAttr:$pre, UnitAttr:$strict);
  let results = (outs Tile_Tensor:$result);
  let assemblyFormat = "$value attr-dict `:` type($value) `->` type($result)";
}
def Tile_LevelDecayOp : Tile_PureOp<"level_decay", [AllTypesMatch<["gate", "result"]>]> {
  let summary = "Sums of vector gates between each token and the middle of its dyadic block";
  let description = [{
    In each block of 2*level tokens with middle m (the first token of its right half): rows t >= m hold
    the sum of g over m..t (over m..t-1 with `pre`), rows s < m the sum over s+1..m-1. The
    decay of a level pair (t, s) is the sum of both rows.
  }];
  let arguments = (ins Tile_Tensor:$gate, I64Attr:$level, UnitAttr:$pre);
  let results = (outs Tile_Tensor:$result);
  let assemblyFormat = "$gate $level attr-dict `:` type($gate)";
}
def Tile_LevelDecayGradOp : Tile_PureOp<"level_decay_grad", [AllTypesMatch<["value", "result"]>]> {
  let summary = "Reverse mode of `tile.level_decay`";
  let arguments = (ins Tile_Tensor:$value, I64Attr:$level, UnitAttr:$pre);
  let results = (outs Tile_Tensor:$result);
  let assemblyFormat = "$value $level attr-dict `:` type($value)";
}

//===----------------------------------------------------------------------===//
// Elementwise recurrences
//===----------------------------------------------------------------------===//

def Tile_ScanOp : Tile_PureOp<"scan", [AllTypesMatch<["decay", "input", "prev", "next"]>, AllTypesMatch<["initial", "last"]>]> {
  let summary = "Elementwise recurrence along the first axis";
  let description = [{ As `chunk.scan`: `prev` and `next` hold the state before and after each row, `last` is next's last row. }];
  let arguments = (ins FLA_ScanKindAttr:$kind, Tile_Value:$initial, Tile_Tensor:$decay, Tile_Tensor:$input);
  let results = (outs Tile_Tensor:$prev, Tile_Tensor:$next, Tile_Value:$last);
  let assemblyFormat = "$kind $initial `,` $decay `,` $input attr-dict `:` type($initial) `,` type($decay)";
}
def Tile_ScanGradOp : Tile_PureOp<"scan_grad", [
    AllTypesMatch<["decay", "input", "prev", "next", "d_prev", "d_next", "d_decay", "d_input"]>,
    AllTypesMatch<["d_last", "d_initial"]>]> {
  let summary = "Reverse mode of `tile.scan`";
  let description = [{
    With D the gradient of the state after row t (d_next[t], plus what row t+1
    passes back, plus d_last on the last row): `linear`: d_decay = D prev,
    d_input = D, back = D decay. `log`: p = exp(prev + decay - next), d_decay = D p,
    d_input = D exp(input - next), back = D p. `max`: p = (prev + decay >= input),
    d_decay = D p, d_input = D (1 - p), back = D p. d_prev[t] joins what row t passes back.
    Where next is -inf, p and exp(input - next) count as 0.
  }];
  let arguments = (ins FLA_ScanKindAttr:$kind, Tile_Tensor:$decay, Tile_Tensor:$input, Tile_Tensor:$prev, Tile_Tensor:$next,
                       Tile_Tensor:$d_prev, Tile_Tensor:$d_next, Tile_Value:$d_last);
  let results = (outs Tile_Value:$d_initial, Tile_Tensor:$d_decay, Tile_Tensor:$d_input);
  let assemblyFormat = [{ $kind $decay `,` $input `,` $prev `,` $next `,` $d_prev `,` $d_next `,` $d_last attr-dict
    `:` type($d_last) `,` type($decay) }];
}

#endif
