//===- ChunkOps.td - the chunk dialect ----------------------*- tablegen -*-===//
//
// How a recurrence is blocked: one scan over chunks of C tokens.
//
//===----------------------------------------------------------------------===//
#ifndef FLA_DIALECT_CHUNK_IR_CHUNKOPS_TD
#define FLA_DIALECT_CHUNK_IR_CHUNKOPS_TD

include "fla/Dialect/FLA/IR/FLADialect.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "mlir/IR/OpAsmInterface.td"
include "mlir/IR/SymbolInterfaces.td"

def Chunk_Dialect : Dialect {
  let name = "chunk";
  let cppNamespace = "::fla::chunk";
  let summary = "Chunkwise-parallel form of a recurrence";
  let description = [{
    A `chunk.program` is one scan over chunks of C consecutive tokens of one
    head of one sequence. Inside, per-token values carry a leading `tokens`
    dimension and pairs of tokens are `tokens x past`; `fla`, `arith` and `math`
    operations work on them as they do on one token. All gates are natural
    logarithms and sums of gates are formed over segments, never as differences
    of running sums: no exponent is ever positive, a gate of -inf resets exactly,
    and reverse mode yields the cancellation-free gate gradient.
  }];
  let dependentDialects = ["::fla::FLADialect"];
}

class Chunk_Op<string mnemonic, list<Trait> traits = []> : Op<Chunk_Dialect, mnemonic, traits>;
class Chunk_PureOp<string mnemonic, list<Trait> traits = []> : Chunk_Op<mnemonic, !listconcat(traits, [Pure])>;

def Chunk_Value : AnyTypeOf<[F64, TensorOf<[F64]>], "f64 or a tensor of f64 with named dimensions">;

def Chunk_ProgramOp : Chunk_Op<"program", [IsolatedFromAbove, Symbol, SingleBlock,
    DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmBlockArgumentNames"]>]> {
  let summary = "One scan over the chunks of a sequence";
  let description = [{
    The block's arguments are, in this order, `tokens` (one row a token of the
    chunk), `params` (the same for every chunk), `carries` (passed from chunk to
    chunk), and `saved` (one value a chunk, written by another program). The
    terminator yields token outputs, next carries, values saved for each chunk
    and terms summed over all chunks. `reverse` visits the chunks from the last
    to the first. Rows of the last chunk past the sequence's end read as zero.

    Constraints: (C1) token arguments have the leading dimension `tokens`, no
    other argument names it; (C2) the yielded carries have the types of the
    carries; (C3) there is one name for each argument and each result.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, StrArrayAttr:$arg_names, DictArrayAttr:$arg_attrs,
                       I64Attr:$num_tokens, I64Attr:$num_params, I64Attr:$num_carries,
                       StrArrayAttr:$result_names, UnitAttr:$reverse);
  let regions = (region SizedRegion<1>:$body);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    ::mlir::Block &getStep() { return getBody().front(); }
    using Args = ::mlir::Block::BlockArgListType;
    Args getTokens() { return getStep().getArguments().take_front(getNumTokens()); }
    Args getParams() { return getStep().getArguments().slice(getNumTokens(), getNumParams()); }
    Args getCarries() { return getStep().getArguments().slice(getNumTokens() + getNumParams(), getNumCarries()); }
    Args getSaved() { return getStep().getArguments().drop_front(getNumTokens() + getNumParams() + getNumCarries()); }
    ::llvm::StringRef getArgName(unsigned i) { return ::llvm::cast<::mlir::StringAttr>(getArgNames()[i]).getValue(); }
    ::llvm::StringRef getResultName(unsigned i) { return ::llvm::cast<::mlir::StringAttr>(getResultNames()[i]).getValue(); }
    ::mlir::DictionaryAttr getArgAttr(unsigned i) { return ::llvm::cast<::mlir::DictionaryAttr>(getArgAttrs()[i]); }
    YieldOp getYield();
  }];
}

def Chunk_YieldOp : Chunk_Op<"yield", [Terminator, Pure, AttrSizedOperandSegments, HasParent<"ProgramOp">]> {
  let summary = "Ends a chunk";
  let arguments = (ins Variadic<Chunk_Value>:$tokens, Variadic<Chunk_Value>:$carries,
                       Variadic<Chunk_Value>:$saved, Variadic<Chunk_Value>:$sums);
  let assemblyFormat = [{
    (`tokens` `(` $tokens^ `)`)? (`carries` `(` $carries^ `)`)? (`saved` `(` $saved^ `)`)? (`sums` `(` $sums^ `)`)?
    attr-dict `:` type(operands)
  }];
}

//===----------------------------------------------------------------------===//
// Pairs of tokens. With gate g, the decay of the pair (t, s) is
//   sum of g over the tokens s+1..t     (post: the reader sees its own gate)
//   sum of g over the tokens s+1..t-1   (`pre`: it does not)
// and s is visible from t iff s < t, or s = t unless `strict` (`pre` implies it).
// g: absent, a scalar a token, a vector a token, or either without `tokens`.
//===----------------------------------------------------------------------===//

class Chunk_PairOp<string mnemonic, dag pair, string format> : Chunk_PureOp<mnemonic> {
  let arguments = !con(pair, (ins Optional<Chunk_Value>:$gate, UnitAttr:$pre, UnitAttr:$strict));
  let results = (outs Chunk_Value:$result);
  let assemblyFormat = format # " (`gate` `(` $gate^ `)`)? attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Chunk_ScoreOp : Chunk_PairOp<"score", (ins Chunk_Value:$b, Chunk_Value:$x), "$b `,` $x"> {
  let summary = "Decayed inner products of readers and writers";
  let description = [{
    `P[t,s] = sum_k b[t,k] x[s,k] exp(decay(t,s)[k])` for visible pairs, 0 elsewhere.
    (MATH: M and P of the chunk form.) Constraints: (C1) b and x have the same
    dimensions, `tokens` first; (C2) the gate's dimensions are `tokens` and
    those of x, or fewer; (C3) the result is `tokens x past`; (C4) `pre` requires `strict`.
  }];
}
def Chunk_ApplyOp : Chunk_PairOp<"apply", (ins Chunk_Value:$p, Chunk_Value:$x), "$p `,` $x"> {
  let summary = "Decayed sum over the writers that a reader sees";
  let description = [{ `O[t,k] = sum_s P[t,s] exp(decay(t,s)[k]) x[s,k]` over visible s. Constraints: as `chunk.score`. }];
}
def Chunk_ApplyTransposedOp : Chunk_PairOp<"apply_transposed", (ins Chunk_Value:$p, Chunk_Value:$b), "$p `,` $b"> {
  let summary = "Decayed sum over the readers that see a writer";
  let description = [{ `X[s,k] = sum_t P[t,s] exp(decay(t,s)[k]) b[t,k]` over visible t. Constraints: as `chunk.score`. }];
}
def Chunk_GateGradOp : Chunk_PureOp<"gate_grad", [TypesMatchWith<"the gradient has the gate's type", "gate", "result", "$_self">]> {
  let summary = "Derivative of sum P[t,s] b[t,k] x[s,k] exp(decay(t,s)[k]) by the gate";
  let description = [{
    Each pair adds its term to every gate between its tokens: sums of the pair's
    own terms only, so nothing cancels.
  }];
  let arguments = (ins Chunk_Value:$p, Chunk_Value:$b, Chunk_Value:$x, Chunk_Value:$gate, UnitAttr:$pre, UnitAttr:$strict);
  let results = (outs Chunk_Value:$result);
  let assemblyFormat = "$p `,` $b `,` $x `gate` `(` $gate `)` attr-dict `:` functional-type(operands, results)";
}

def Chunk_SolveOp : Chunk_PureOp<"solve", [AttrSizedOperandSegments]> {
  let summary = "Solves Y = R + M Y for n rows a token";
  let description = [{
    `rows` holds n values R_w (tokens x D) and `scores` the n*n matrices M[w][w'] row by
    row (tokens x past); rows are ordered by token, then by w, and M is strictly
    lower in that order. With a gate on D, M Y carries the decay of the pair.
    `transposed` solves R = Y + M^T R instead (reverse mode: given dY, yields dR).
    Results: Y_w. Constraints: (C1) there are n*n scores for n rows.
  }];
  let arguments = (ins Variadic<Chunk_Value>:$scores, Variadic<Chunk_Value>:$rows, Optional<Chunk_Value>:$gate, UnitAttr:$transposed);
  let results = (outs Variadic<Chunk_Value>:$results);
  let assemblyFormat = "`scores` `(` $scores `)` `rows` `(` $rows `)` (`gate` `(` $gate^ `)`)? attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Along the tokens
//===----------------------------------------------------------------------===//

def Chunk_CumSumOp : Chunk_PureOp<"cumsum", [AllTypesMatch<["value", "result"]>]> {
  let summary = "Running sum over the tokens of a chunk";
  let description = [{ From the first token, or from the last (`reverse`); without the token itself if `exclusive`. }];
  let arguments = (ins Chunk_Value:$value, UnitAttr:$reverse, UnitAttr:$exclusive);
  let results = (outs Chunk_Value:$result);
  let assemblyFormat = "$value attr-dict `:` type($value)";
}

def Chunk_PadOp : Chunk_PureOp<"pad", [AllTypesMatch<["value", "result"]>]> {
  let summary = "Replaces the rows past the sequence's end by a neutral value";
  let description = [{ Selected, not multiplied: what stands there never spreads. }];
  let arguments = (ins Chunk_Value:$value, F64Attr:$neutral);
  let results = (outs Chunk_Value:$result);
  let assemblyFormat = "$value `,` $neutral attr-dict `:` type($value)";
}

def Chunk_ScanOp : Chunk_PureOp<"scan", [AllTypesMatch<["decay", "input", "prev", "next"]>, AllTypesMatch<["initial", "last"]>]> {
  let summary = "Elementwise recurrence over the tokens of a chunk";
  let description = [{
    `prev` holds the state before each token, `next` after it, `last` after the
    chunk; kinds as `fla.scan`.
  }];
  let arguments = (ins FLA_ScanKindAttr:$kind, Chunk_Value:$initial, Chunk_Value:$decay, Chunk_Value:$input);
  let results = (outs Chunk_Value:$prev, Chunk_Value:$next, Chunk_Value:$last);
  let assemblyFormat = "$kind $initial `,` $decay `,` $input attr-dict `:` type($initial) `,` type($decay)";
}

def Chunk_ScanGradOp : Chunk_PureOp<"scan_grad", [
    AllTypesMatch<["decay", "input", "prev", "next", "d_prev", "d_next", "d_decay", "d_input"]>,
    AllTypesMatch<["d_last", "d_initial"]>]> {
  let summary = "Reverse mode of `chunk.scan`";
  let arguments = (ins FLA_ScanKindAttr:$kind, Chunk_Value:$decay, Chunk_Value:$input, Chunk_Value:$prev, Chunk_Value:$next,
                       Chunk_Value:$d_prev, Chunk_Value:$d_next, Chunk_Value:$d_last);
  let results = (outs Chunk_Value:$d_initial, Chunk_Value:$d_decay, Chunk_Value:$d_input);
  let assemblyFormat = [{ $kind $decay `,` $input `,` $prev `,` $next `,` $d_prev `,` $d_next `,` $d_last attr-dict
    `:` type($d_last) `,` type($decay) }];
}

#endif
