//===- FLAOps.td - operations of the fla dialect ------------*- tablegen -*-===//
#ifndef FLA_DIALECT_FLA_IR_FLAOPS_TD
#define FLA_DIALECT_FLA_IR_FLAOPS_TD

include "fla/Dialect/FLA/IR/FLADialect.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/IR/OpAsmInterface.td"
include "mlir/IR/RegionKindInterface.td"
include "mlir/IR/SymbolInterfaces.td"

// A scalar f64 or a tensor of f64 whose axes are named.
def FLA_Value : AnyTypeOf<[F64, TensorOf<[F64]>], "f64 or a tensor of f64 with named dimensions">;

class FLA_Op<string mnemonic, list<Trait> traits = []> : Op<FLA_Dialect, mnemonic, traits>;
class FLA_PureOp<string mnemonic, list<Trait> traits = []> : FLA_Op<mnemonic, !listconcat(traits, [Pure])>;

//===----------------------------------------------------------------------===//
// Definitions
//===----------------------------------------------------------------------===//

class FLA_StepOp<string mnemonic> : FLA_Op<mnemonic, [IsolatedFromAbove, Symbol, SingleBlock,
    DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmBlockArgumentNames"]>]> {
  let arguments = (ins SymbolNameAttr:$sym_name, I64Attr:$num_states, StrArrayAttr:$arg_names,
                       DictArrayAttr:$arg_attrs, OptionalAttr<StrAttr>:$sym_visibility);
  let regions = (region SizedRegion<1>:$body);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
  code stepDeclaration = [{
    ::mlir::Block &getStep() { return getBody().front(); }
    ::mlir::Block::BlockArgListType getStates() { return getStep().getArguments().take_front(getNumStates()); }
    ::mlir::Block::BlockArgListType getInputs() { return getStep().getArguments().drop_front(getNumStates()); }
    ::llvm::StringRef getArgName(unsigned i) { return ::llvm::cast<::mlir::StringAttr>(getArgNames()[i]).getValue(); }
    ::mlir::DictionaryAttr getArgAttr(unsigned i) { return ::llvm::cast<::mlir::DictionaryAttr>(getArgAttrs()[i]); }
    /// No time axis: one value a head (`param`) or one for all heads (`value`).
    bool isParam(unsigned i) { return getArgAttr(i).contains("param"); }
    bool isRuntimeValue(unsigned i) { return getArgAttr(i).contains("value"); }
    bool isPerToken(unsigned i) { return i >= getNumStates() && !isParam(i) && !isRuntimeValue(i); }
    YieldOp getYield();
  }];
  let extraClassDeclaration = stepDeclaration;
}

def FLA_RecurrenceOp : FLA_StepOp<"recurrence"> {
  let summary = "Defines one token step of a recurrence, as the paper states it";
  let description = [{
    ```mlir
    fla.recurrence @name state(%S : !S) (%q : !K, %g : f64 {max = 0.0}, %A : f64 {param}) {
      ...
      fla.yield state(%S2) outputs(%o) : !S, !V
    }
    ```
    `state(...)` lists what is carried from token to token, the parentheses what
    the caller gives, in the order of a call. Attributes of an argument:
    `param` (one value a head, no time axis), `value` (one number for all
    heads: a run-time `float`), `default = c` (may be left out: the constant c
    takes its place), `init = c` (a state's start; 0 otherwise), and its domain,
    from which checks draw inputs and which gates rely on: `min = a`, `max = b`,
    `unit` (Euclidean norm 1 over the last axis).

    Constraints:
    - (C1) every argument is `f64` or a tensor of `f64` with `#fla.dims`;
    - (C2) argument names are distinct;
    - (C3) the step yields one value for each state, of its type, in order;
    - (C4) a state has no `param`, `value`, `default`, `min`, `max` or `unit`;
    - (C5) `min` does not exceed `max`;
    - (C6) every operation is in `fla`, `arith` or `math` and has no side effect;
    - (C7) the reserved names `tokens` and `past` name no dimension;
    - (C8) at least one per-token input and one output; a step without states treats tokens alike;
    - (C9) a `value` argument is `f64`.
  }];
}

def FLA_ProgramOp : FLA_StepOp<"program"> {
  let summary = "A recurrence in canonical form: one state operation for each state";
  let description = [{
    What normalisation makes of an `fla.recurrence`: the same arguments, and a
    straight line of per-token values in which each state is consumed by exactly
    one `fla.affine` (matrix states) or `fla.scan` (elementwise states). States
    appear in strata order: a state is advanced before anything reads it that
    feeds another state.

    Constraints: those of `fla.recurrence`, and
    - (C10) each state is the state operand of exactly one `fla.affine` or
      `fla.scan`, whose first result is yielded for it.
  }];
}

def FLA_YieldOp : FLA_Op<"yield", [Terminator, Pure, AttrSizedOperandSegments,
    ParentOneOf<["RecurrenceOp", "ProgramOp"]>]> {
  let summary = "Ends a step: the next states and the outputs of this token";
  let arguments = (ins Variadic<FLA_Value>:$states, Variadic<FLA_Value>:$outputs);
  let assemblyFormat = [{
    (`state` `(` $states^ `)`)? (`outputs` `(` $outputs^ `)`)? attr-dict
    `:` type(operands)
  }];
  let hasCustomAssemblyFormat = 0;
}

//===----------------------------------------------------------------------===//
// What a step does to a state
//===----------------------------------------------------------------------===//

def FLA_GateOp : FLA_PureOp<"gate", [AllTypesMatch<["state", "result"]>]> {
  let summary = "Multiplies a state by a decay along the axes that the decay names";
  let description = [{
    `S'[i,j] = a[..] * S[i,j]`: a scalar decays all of S, a K-vector its rows,
    a V-vector its columns. `a` is the factor itself, not its logarithm; it must
    not be negative (normalisation forms the natural logarithm symbolically).

    Constraints: (C1) the dimensions of `a` are dimensions of the state.
  }];
  let arguments = (ins FLA_Value:$state, FLA_Value:$factor);
  let results = (outs FLA_Value:$result);
  let assemblyFormat = "$state `,` $factor attr-dict `:` type($state) `,` type($factor)";
  let hasVerifier = 1;
}

def FLA_ScaleOp : FLA_PureOp<"scale", [AllTypesMatch<["value", "result"]>]> {
  let summary = "Multiplies a value by a factor along the axes that the factor names";
  let description = [{
    `r[i,j] = s[..] * x[i,j]`; `s` is a scalar or names some of x's dimensions.

    Constraints: (C1) the dimensions of the factor are dimensions of the value.
  }];
  let arguments = (ins FLA_Value:$value, FLA_Value:$factor);
  let results = (outs FLA_Value:$result);
  let assemblyFormat = "$value `,` $factor attr-dict `:` type($value) `,` type($factor)";
  let hasVerifier = 1;
}

def FLA_ReadOp : FLA_PureOp<"read"> {
  let summary = "Contracts a state with a vector: S^T q over rows, or S q over columns";
  let description = [{
    The dimension of the vector is summed; the result has the state's other ones.

    Constraints: (C1) the vector has one dimension and it is one of the state's;
    (C2) the result has the state's remaining dimensions, in order.
  }];
  let arguments = (ins FLA_Value:$state, FLA_Value:$query);
  let results = (outs FLA_Value:$result);
  let assemblyFormat = "$state `,` $query attr-dict `:` type($state) `,` type($query) `->` type($result)";
  let hasVerifier = 1;
}

def FLA_WriteOp : FLA_PureOp<"write", [AllTypesMatch<["state", "result"]>]> {
  let summary = "Adds a rank-1 term to a state: S + x y^T";
  let description = [{
    Constraints: (C1) x has the state's first dimension and y its second.
  }];
  let arguments = (ins FLA_Value:$state, FLA_Value:$x, FLA_Value:$y);
  let results = (outs FLA_Value:$result);
  let assemblyFormat = "$state `,` $x `,` $y attr-dict `:` type($state) `,` type($x) `,` type($y)";
  let hasVerifier = 1;
}

def FLA_OuterOp : FLA_PureOp<"outer"> {
  let summary = "Outer product of two vectors";
  let description = [{
    Constraints: (C1) the result's dimensions are those of x, then those of y.
  }];
  let arguments = (ins FLA_Value:$x, FLA_Value:$y);
  let results = (outs FLA_Value:$result);
  let assemblyFormat = "$x `,` $y attr-dict `:` type($x) `,` type($y) `->` type($result)";
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Values: broadcast, reductions, shapes
//===----------------------------------------------------------------------===//

def FLA_DotOp : FLA_PureOp<"dot", [AllTypesMatch<["a", "b"]>]> {
  let summary = "Sum of products of two values of the same dimensions";
  let arguments = (ins FLA_Value:$a, FLA_Value:$b);
  let results = (outs F64:$result);
  let assemblyFormat = "$a `,` $b attr-dict `:` type($a)";
}

def FLA_ContractOp : FLA_PureOp<"contract"> {
  let summary = "Product of two values summed over what the result does not name (einsum)";
  let description = [{
    A dimension that both operands have and the result has is a batch
    dimension; one that the result lacks is summed. The general form behind
    `read`, `outer`, `dot` and `scale`, used from the chunk phase on.

    Constraints: (C1) every dimension of the result is one of an operand;
    (C2) a dimension of only one operand is kept.
  }];
  let arguments = (ins FLA_Value:$a, FLA_Value:$b);
  let results = (outs FLA_Value:$result);
  let assemblyFormat = "$a `,` $b attr-dict `:` type($a) `,` type($b) `->` type($result)";
  let hasVerifier = 1;
}

def FLA_BroadcastOp : FLA_PureOp<"broadcast"> {
  let summary = "Repeats a value along the dimensions that it lacks";
  let description = [{
    Constraints: (C1) the dimensions of the operand are among the result's, in
    the same order.
  }];
  let arguments = (ins FLA_Value:$value);
  let results = (outs FLA_Value:$result);
  let assemblyFormat = "$value attr-dict `:` type($value) `->` type($result)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

class FLA_ReduceOp<string mnemonic, string text> : FLA_PureOp<mnemonic> {
  let summary = text;
  let description = [{
    Reduces over every dimension that the result lacks.

    Constraints: (C1) the result's dimensions are among the operand's, in the
    same order.
  }];
  let arguments = (ins FLA_Value:$value);
  let results = (outs FLA_Value:$result);
  let assemblyFormat = "$value attr-dict `:` type($value) `->` type($result)";
  let hasVerifier = 1;
}
def FLA_SumOp : FLA_ReduceOp<"sum", "Sums a value over the dimensions that the result lacks">;
def FLA_MaxOp : FLA_ReduceOp<"max", "Largest element over the dimensions that the result lacks">;

def FLA_SoftmaxOp : FLA_PureOp<"softmax", [SameOperandsAndResultType]> {
  let summary = "Softmax of a value along its last dimension";
  let description = [{ Constraints: (C1) the operand has at least one dimension. }];
  let arguments = (ins FLA_Value:$value);
  let results = (outs FLA_Value:$result);
  let assemblyFormat = "$value attr-dict `:` type($value)";
  let hasVerifier = 1;
}

class FLA_UnaryOp<string mnemonic, string text> : FLA_PureOp<mnemonic, [Elementwise, SameOperandsAndResultType]> {
  let summary = text;
  let arguments = (ins FLA_Value:$value);
  let results = (outs FLA_Value:$result);
  let assemblyFormat = "$value attr-dict `:` type($value)";
}
def FLA_SigmoidOp : FLA_UnaryOp<"sigmoid", "Logistic function 1/(1+exp(-x)), elementwise">;
def FLA_SoftplusOp : FLA_UnaryOp<"softplus", "log(1+exp(x)) without overflow, elementwise">;

def FLA_LogAddExpOp : FLA_PureOp<"logaddexp", [Elementwise, SameOperandsAndResultType]> {
  let summary = "log(exp(a)+exp(b)) without overflow, elementwise";
  let arguments = (ins FLA_Value:$a, FLA_Value:$b);
  let results = (outs FLA_Value:$result);
  let assemblyFormat = "$a `,` $b attr-dict `:` type($result)";
}

def FLA_AssumeOp : FLA_PureOp<"assume", [AllTypesMatch<["value", "result"]>]> {
  let summary = "States the domain of a value: a contract, not a computation";
  let description = [{
    Returns its operand; `min`, `max` and `unit` mean what they mean on an
    argument. Constraints: (C1) `min` does not exceed `max`.
  }];
  let arguments = (ins FLA_Value:$value, OptionalAttr<F64Attr>:$min, OptionalAttr<F64Attr>:$max, UnitAttr:$unit);
  let results = (outs FLA_Value:$result);
  let assemblyFormat = "$value attr-dict `:` type($value)";
  let hasVerifier = 1;
}

def FLA_ConcatOp : FLA_PureOp<"concat"> {
  let summary = "Concatenates vectors along their last dimension";
  let description = [{
    The result's last dimension is named by the sum of the parts, for instance
    `"1 + D + D*D"`. A scalar counts as a part of size 1.

    Constraints: (C1) all leading dimensions agree.
  }];
  let arguments = (ins Variadic<FLA_Value>:$parts);
  let results = (outs FLA_Value:$result);
  let assemblyFormat = "$parts attr-dict `:` type($parts) `->` type($result)";
  let hasVerifier = 1;
}

def FLA_FlattenOp : FLA_PureOp<"flatten"> {
  let summary = "Merges the last two dimensions into one, row-major";
  let description = [{
    The result's last dimension is named by their product, for instance `"D*D"`.

    Constraints: (C1) the result has one dimension less, and the leading ones agree.
  }];
  let arguments = (ins FLA_Value:$value);
  let results = (outs FLA_Value:$result);
  let assemblyFormat = "$value attr-dict `:` type($value) `->` type($result)";
  let hasVerifier = 1;
}

def FLA_RotateOp : FLA_PureOp<"rotate", [AllTypesMatch<["value", "result"]>]> {
  let summary = "Rotates pairs (x[2i], x[2i+1]) of the last dimension by angle[i]";
  let description = [{
    `r[2i] = x[2i] cos a[i] - x[2i+1] sin a[i]`, `r[2i+1] = x[2i] sin a[i] + x[2i+1] cos a[i]`.
    x has an even size, twice that of the angle's last dimension.

    Constraints: (C1) the leading dimensions of value and angle agree.
  }];
  let arguments = (ins FLA_Value:$value, FLA_Value:$angle);
  let results = (outs FLA_Value:$result);
  let assemblyFormat = "$value `,` $angle attr-dict `:` type($value) `,` type($angle)";
  let hasVerifier = 1;
}

def FLA_IndexOp : FLA_PureOp<"index"> {
  let summary = "Takes one position of a value's first dimension that the result lacks";
  let description = [{
    `fla.index %k[1] : tensor<?x?xf64, #fla.dims<n, K>> -> !K` is k[1]. When the
    value has a leading `tokens` dimension the one after it is taken.

    Constraints: (C1) the result lacks exactly one dimension of the operand;
    (C2) the position is not negative.
  }];
  let arguments = (ins FLA_Value:$value, I64Attr:$position);
  let results = (outs FLA_Value:$result);
  let assemblyFormat = "$value `[` $position `]` attr-dict `:` type($value) `->` type($result)";
  let hasVerifier = 1;
}

def FLA_RenameOp : FLA_PureOp<"rename"> {
  let summary = "The same value under other dimension names of equal size";
  let description = [{
    Tells apart the two axes of a square state: `"K'"` is a second dimension of
    K's size. Constraints: (C1) operand and result have the same rank.
  }];
  let arguments = (ins FLA_Value:$value);
  let results = (outs FLA_Value:$result);
  let assemblyFormat = "$value attr-dict `:` type($value) `->` type($result)";
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Converses, used by reverse mode
//===----------------------------------------------------------------------===//

def FLA_SplitOp : FLA_PureOp<"split"> {
  let summary = "Cuts a value into the parts that `fla.concat` would join";
  let description = [{
    A part that lacks the last dimension has size 1 there.

    Constraints: (C1) all leading dimensions agree.
  }];
  let arguments = (ins FLA_Value:$value);
  let results = (outs Variadic<FLA_Value>:$parts);
  let assemblyFormat = "$value attr-dict `:` type($value) `->` type($parts)";
  let hasVerifier = 1;
}
def FLA_UnflattenOp : FLA_PureOp<"unflatten"> {
  let summary = "Splits the last dimension into two, row-major: the converse of `fla.flatten`";
  let description = [{ Constraints: (C1) the result has one dimension more, and the leading ones agree. }];
  let arguments = (ins FLA_Value:$value);
  let results = (outs FLA_Value:$result);
  let assemblyFormat = "$value attr-dict `:` type($value) `->` type($result)";
  let hasVerifier = 1;
}
def FLA_PlaceOp : FLA_PureOp<"place"> {
  let summary = "Puts a value at one position of a new dimension, zero elsewhere: the converse of `fla.index`";
  let description = [{
    Constraints: (C1) the operand lacks exactly one dimension of the result;
    (C2) the position is not negative.
  }];
  let arguments = (ins FLA_Value:$value, I64Attr:$position);
  let results = (outs FLA_Value:$result);
  let assemblyFormat = "$value `[` $position `]` attr-dict `:` type($value) `->` type($result)";
  let hasVerifier = 1;
}
def FLA_RotateGradOp : FLA_PureOp<"rotate_grad", [AllTypesMatch<["gradient", "rotated"]>]> {
  let summary = "Gradient of `fla.rotate` by its angle: d[2i+1] r[2i] - d[2i] r[2i+1]";
  let description = [{ Constraints: (C1) the leading dimensions of the operands and the result agree. }];
  let arguments = (ins FLA_Value:$gradient, FLA_Value:$rotated);
  let results = (outs FLA_Value:$result);
  let assemblyFormat = "$gradient `,` $rotated attr-dict `:` type($rotated) `->` type($result)";
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Canonical state operations (after normalisation)
//===----------------------------------------------------------------------===//

def FLA_AffineOp : FLA_PureOp<"affine", [AttrSizedOperandSegments]> {
  let summary = "One token of a matrix state in canonical form: decay, then rank-1 writes";
  let description = [{
    With rows = the axis `row_axis` of the state (x lives on it) and columns the other:
    ```
    S[-1] = the incoming state
    S[0]  = Diag(e^row_gate) S[-1] Diag(e^column_gate)        natural-log gates, <= 0
    S[w+1] = S[w] + x_w y_w^T,   y_w = value_w + sum over its reads (S[version]^T b)
    query j: S[version]^T q (`on_rows`), or S[version] q (not `on_rows`)
    ```
    `read_rows[i]` is the write that row read i belongs to, `read_versions[i]` the
    state it sees; `query_versions` and `query_on_rows` likewise for the queries.
    A row gate is a scalar or a row vector, a column gate a column vector. The
    first result is the next state, then come the queries' results.

    Constraints:
    - (C1) as many values as writes; (C2) one row and one version for each read,
      one version and one side for each query;
    - (C3) a read of write w sees a version from -1 to w, a query from -1 to the
      number of writes; (C4) x, b and row queries have the row dimension, values
      and column queries the column dimension; (C5) a row gate is a scalar or
      has the row dimension, a column gate has the column dimension;
    - (C6) with a column gate, no row reads the version before the gate.
  }];
  let arguments = (ins FLA_Value:$state, Optional<FLA_Value>:$row_gate, Optional<FLA_Value>:$column_gate,
                       Variadic<FLA_Value>:$xs, Variadic<FLA_Value>:$values, Variadic<FLA_Value>:$reads,
                       Variadic<FLA_Value>:$queries, I64Attr:$row_axis,
                       DenseI64ArrayAttr:$read_rows, DenseI64ArrayAttr:$read_versions,
                       DenseI64ArrayAttr:$query_versions, DenseBoolArrayAttr:$query_on_rows);
  let results = (outs FLA_Value:$next, Variadic<FLA_Value>:$answers);
  let assemblyFormat = [{
    $state (`row_gate` `(` $row_gate^ `)`)? (`column_gate` `(` $column_gate^ `)`)?
    (`writes` `(` $xs^ `)`)? (`values` `(` $values^ `)`)? (`reads` `(` $reads^ `)`)? (`queries` `(` $queries^ `)`)?
    attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def FLA_ScanOp : FLA_PureOp<"scan", [AllTypesMatch<["state", "decay", "input", "next"]>]> {
  let summary = "One token of an elementwise state";
  let description = [{
    `linear`: next = decay * state + input; `log`: next = logaddexp(state + decay, input);
    `max`: next = max(state + decay, input). Running sums, the previous token's
    value (decay 0), logcumsumexp and a running maximum are all of this form.
  }];
  let arguments = (ins FLA_ScanKindAttr:$kind, FLA_Value:$state, FLA_Value:$decay, FLA_Value:$input);
  let results = (outs FLA_Value:$next);
  let assemblyFormat = "$kind $state `,` $decay `,` $input attr-dict `:` type($state)";
}

#endif
