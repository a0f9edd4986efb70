// One case for each numbered constraint, named by operation and number.
// RUN: fla-opt %s --verify-diagnostics --split-input-file

//===----------------------------------------------------------------------===//
// #fla.dims
//===----------------------------------------------------------------------===//

// dims_c1: one name for each axis.
// expected-error@+1 {{expected one dimension name for each of 2 axes, got 1 (C1)}}
fla.recurrence @dims_c1 state(%S : tensor<?x?xf64, #fla.dims<K>>) () {}

// -----

// dims_c2: no name is empty.
// expected-error@+1 {{expected a dimension name, got an empty string (C2)}}
fla.recurrence @dims_c2_empty state(%S : tensor<?xf64, #fla.dims<"">>) () {}

// -----

// dims_c2: no name occurs twice; the message shows the way out.
// expected-error@+1 {{dimension 'K' occurs twice in one value; name its axes apart, for instance 'K' and "K'" (C2)}}
fla.recurrence @dims_c2_twice state(%S : tensor<?x?xf64, #fla.dims<K, K>>) () {}

// -----

//===----------------------------------------------------------------------===//
// fla.recurrence
//===----------------------------------------------------------------------===//

// recurrence_c1: arguments are f64 or name their axes.
// expected-error@+1 {{expected argument 'x' to be f64 or a tensor of f64 with #fla.dims, got 'tensor<4xf64>' (C1)}}
fla.recurrence @recurrence_c1 state(%S : f64) (%x : tensor<4xf64>) {
  fla.yield state(%S) outputs(%S) : f64, f64
}

// -----

// recurrence_c1: other number types belong to later phases.
// expected-error@+1 {{expected argument 'x' to be f64 or a tensor of f64 with #fla.dims, got 'f32' (C1)}}
fla.recurrence @recurrence_c1_type state(%S : f64) (%x : f32) {
  fla.yield state(%S) outputs(%S) : f64, f64
}

// -----

// recurrence_c2: names are distinct, as only the generic form can violate.
// expected-error@+1 {{argument name 'S' is used twice (C2)}}
"fla.recurrence"() <{sym_name = "recurrence_c2", num_states = 1 : i64, arg_names = ["S", "S"], arg_attrs = [{}, {}]}> ({
^bb0(%S : f64, %x : f64):
  "fla.yield"(%S, %x) <{operandSegmentSizes = array<i32: 1, 1>}> : (f64, f64) -> ()
}) : () -> ()

// -----

// recurrence_c2: and there is one for each argument.
// expected-error@+1 {{expected a name and attributes for each of 2 arguments (C2)}}
"fla.recurrence"() <{sym_name = "recurrence_c2_count", num_states = 1 : i64, arg_names = ["S"], arg_attrs = [{}, {}]}> ({
^bb0(%S : f64, %x : f64):
  "fla.yield"(%S, %x) <{operandSegmentSizes = array<i32: 1, 1>}> : (f64, f64) -> ()
}) : () -> ()

// -----

// recurrence_c3: as many next states as states.
fla.recurrence @recurrence_c3_count state(%S : f64, %z : f64) (%x : f64) {
  // expected-error@+1 {{expected 2 next states, got 1 (C3)}}
  fla.yield state(%S) outputs(%x) : f64, f64
}

// -----

// recurrence_c3: of their types, in order.
// expected-note@+1 {{the state is declared here}}
fla.recurrence @recurrence_c3_type state(%S : tensor<?xf64, #fla.dims<K>>) (%x : tensor<?xf64, #fla.dims<V>>) {
  // expected-error@+1 {{expected the next 'S' to be [K], got [V] (C3)}}
  fla.yield state(%x) outputs(%x) : tensor<?xf64, #fla.dims<V>>, tensor<?xf64, #fla.dims<V>>
}

// -----

// recurrence_c3: a step ends in its yield.
// expected-error@+1 {{expected the step to end in 'fla.yield' (C3)}}
fla.recurrence @recurrence_c3_missing state(%S : f64) (%x : f64) {
  %y = arith.addf %S, %x : f64
}

// -----

// recurrence_c4: a state is not an input.
// expected-error@+1 {{state 'S' has the attribute 'param', which only inputs may have (C4)}}
fla.recurrence @recurrence_c4 state(%S : f64 {param}) (%x : f64) {
  fla.yield state(%S) outputs(%x) : f64, f64
}

// -----

// recurrence_c5: a domain is not empty.
// expected-error@+1 {{expected min <= max for argument 'g', got 1.000000e+00 > 0.000000e+00 (C5)}}
fla.recurrence @recurrence_c5 state(%S : f64) (%g : f64 {min = 1.0, max = 0.0}) {
  fla.yield state(%S) outputs(%g) : f64, f64
}

// -----

// recurrence_c6: loops and memory have no place in a step.
fla.recurrence @recurrence_c6 state(%S : f64) (%x : f64) {
  // expected-error@+1 {{is not allowed in a step, which holds operations of fla, arith and math only (C6)}}
  %empty = tensor.empty() : tensor<4xf64>
  fla.yield state(%S) outputs(%x) : f64, f64
}

// -----

// recurrence_c7: names that the chunk phase takes for itself.
// expected-error@+1 {{dimension name 'tokens' of argument 'x' is reserved (C7)}}
fla.recurrence @recurrence_c7 state(%S : f64) (%x : tensor<?xf64, #fla.dims<tokens>>) {
  fla.yield state(%S) outputs(%x) : f64, tensor<?xf64, #fla.dims<tokens>>
}

// -----

// recurrence_c8: parameters alone make no sequence.
// expected-error@+1 {{expected at least one input for each token (C8)}}
fla.recurrence @recurrence_c8_input state(%S : f64) (%w : f64 {param}) {
  fla.yield state(%S) outputs(%w) : f64, f64
}

// -----

// recurrence_c8: a step without outputs computes nothing that a caller sees.
fla.recurrence @recurrence_c8_output state(%S : f64) (%x : f64) {
  // expected-error@+1 {{expected at least one output (C8)}}
  fla.yield state(%S) : f64
}

// -----

// recurrence_c9: a run-time value is one number.
// expected-error@+1 {{expected the run-time value 'scale' to be f64, got 'tensor<?xf64, #fla.dims<K>>' (C9)}}
fla.recurrence @recurrence_c9 state(%S : f64) (%x : f64, %scale : tensor<?xf64, #fla.dims<K>> {value}) {
  fla.yield state(%S) outputs(%x) : f64, f64
}

// -----

//===----------------------------------------------------------------------===//
// fla.program
//===----------------------------------------------------------------------===//

// program_c10: a state is advanced.
// expected-error@+1 {{expected state 'S' to be advanced by one fla.affine or fla.scan whose first result is yielded (C10)}}
fla.program @program_c10 state(%S : f64) (%x : f64) {
  %y = arith.addf %S, %x : f64
  fla.yield state(%y) outputs(%x) : f64, f64
}

// -----

// program_c10: exactly once.
// expected-error@+1 {{expected state 'S' to be advanced by one fla.affine or fla.scan}}
fla.program @program_c10_twice state(%S : f64) (%x : f64) {
  %a = fla.scan linear %S, %x, %x : f64
  %b = fla.scan max %S, %x, %x : f64
  fla.yield state(%a) outputs(%b) : f64, f64
}

// -----

//===----------------------------------------------------------------------===//
// States
//===----------------------------------------------------------------------===//

// gate_c1: a decay names axes of the state.
fla.recurrence @gate_c1 state(%S : tensor<?xf64, #fla.dims<K>>) (%a : tensor<?xf64, #fla.dims<V>>) {
  // expected-error@+1 {{expected a factor over dimensions of [K], got [V] (C1)}}
  %0 = fla.gate %S, %a : tensor<?xf64, #fla.dims<K>>, tensor<?xf64, #fla.dims<V>>
  fla.yield state(%0) outputs(%a) : tensor<?xf64, #fla.dims<K>>, tensor<?xf64, #fla.dims<V>>
}

// -----

// scale_c1: a scalar has no axes to scale along.
fla.recurrence @scale_c1 state(%S : f64) (%a : tensor<?xf64, #fla.dims<V>>) {
  // expected-error@+1 {{expected a factor over dimensions of a scalar, got [V] (C1)}}
  %0 = fla.scale %S, %a : f64, tensor<?xf64, #fla.dims<V>>
  fla.yield state(%0) outputs(%a) : f64, tensor<?xf64, #fla.dims<V>>
}

// -----

// read_c1: the vector has one of the state's dimensions.
fla.recurrence @read_c1 state(%S : tensor<?x?xf64, #fla.dims<K, V>>) (%q : tensor<?xf64, #fla.dims<D>>) {
  // expected-error@+1 {{expected a vector over one dimension of the state [K, V], got [D] (C1)}}
  %o = fla.read %S, %q : tensor<?x?xf64, #fla.dims<K, V>>, tensor<?xf64, #fla.dims<D>> -> tensor<?xf64, #fla.dims<V>>
  fla.yield state(%S) outputs(%o) : tensor<?x?xf64, #fla.dims<K, V>>, tensor<?xf64, #fla.dims<V>>
}

// -----

// read_c2: the result has the dimension that is left.
fla.recurrence @read_c2 state(%S : tensor<?x?xf64, #fla.dims<K, V>>) (%q : tensor<?xf64, #fla.dims<K>>) {
  // expected-error@+1 {{expected the result to be [V], got [K] (C2)}}
  %o = fla.read %S, %q : tensor<?x?xf64, #fla.dims<K, V>>, tensor<?xf64, #fla.dims<K>> -> tensor<?xf64, #fla.dims<K>>
  fla.yield state(%S) outputs(%o) : tensor<?x?xf64, #fla.dims<K, V>>, tensor<?xf64, #fla.dims<K>>
}

// -----

// write_c1: x belongs to the rows, y to the columns.
fla.recurrence @write_c1 state(%S : tensor<?x?xf64, #fla.dims<K, V>>) (%k : tensor<?xf64, #fla.dims<K>>, %v : tensor<?xf64, #fla.dims<V>>) {
  // expected-error@+1 {{expected vectors over the two dimensions of the state [K, V], got [V] and [K] (C1)}}
  %o = fla.write %S, %v, %k : tensor<?x?xf64, #fla.dims<K, V>>, tensor<?xf64, #fla.dims<V>>, tensor<?xf64, #fla.dims<K>>
  fla.yield state(%o) outputs(%v) : tensor<?x?xf64, #fla.dims<K, V>>, tensor<?xf64, #fla.dims<V>>
}

// -----

// outer_c1: the dimensions of x come first.
fla.recurrence @outer_c1 state(%S : f64) (%k : tensor<?xf64, #fla.dims<K>>, %v : tensor<?xf64, #fla.dims<V>>) {
  // expected-error@+1 {{expected the result to have the dimensions of x and then those of y, got [K] and [V] -> [V, K] (C1)}}
  %o = fla.outer %k, %v : tensor<?xf64, #fla.dims<K>>, tensor<?xf64, #fla.dims<V>> -> tensor<?x?xf64, #fla.dims<V, K>>
  fla.yield state(%S) outputs(%v) : f64, tensor<?xf64, #fla.dims<V>>
}

// -----

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

// contract_c1: the result invents no dimension.
fla.recurrence @contract_c1 state(%S : f64) (%k : tensor<?xf64, #fla.dims<K>>) {
  // expected-error@+1 {{expected dimensions of an operand in the result, got 'V' (C1)}}
  %o = fla.contract %k, %k : tensor<?xf64, #fla.dims<K>>, tensor<?xf64, #fla.dims<K>> -> tensor<?xf64, #fla.dims<V>>
  fla.yield state(%S) outputs(%k) : f64, tensor<?xf64, #fla.dims<K>>
}

// -----

// contract_c2: only a dimension of both operands can be summed.
fla.recurrence @contract_c2 state(%S : f64) (%k : tensor<?xf64, #fla.dims<K>>, %v : tensor<?xf64, #fla.dims<V>>) {
  // expected-error@+1 {{dimension 'K' of one operand alone must be kept (C2)}}
  %o = fla.contract %k, %v : tensor<?xf64, #fla.dims<K>>, tensor<?xf64, #fla.dims<V>> -> tensor<?xf64, #fla.dims<V>>
  fla.yield state(%S) outputs(%k) : f64, tensor<?xf64, #fla.dims<K>>
}

// -----

// broadcast_c1: the operand's dimensions stay.
fla.recurrence @broadcast_c1 state(%S : f64) (%k : tensor<?xf64, #fla.dims<K>>) {
  // expected-error@+1 {{expected the operand's dimensions among the result's, in order, got [K] -> [V] (C1)}}
  %o = fla.broadcast %k : tensor<?xf64, #fla.dims<K>> -> tensor<?xf64, #fla.dims<V>>
  fla.yield state(%S) outputs(%k) : f64, tensor<?xf64, #fla.dims<K>>
}

// -----

// sum_c1, max_c1: a reduction drops dimensions, it does not reorder them.
fla.recurrence @sum_c1 state(%S : f64) (%m : tensor<?x?xf64, #fla.dims<K, V>>) {
  // expected-error@+1 {{expected the result's dimensions among the operand's, in order, got [K, V] -> [V, K] (C1)}}
  %o = fla.sum %m : tensor<?x?xf64, #fla.dims<K, V>> -> tensor<?x?xf64, #fla.dims<V, K>>
  fla.yield state(%S) outputs(%S) : f64, f64
}

// -----

fla.recurrence @max_c1 state(%S : f64) (%k : tensor<?xf64, #fla.dims<K>>) {
  // expected-error@+1 {{expected the result's dimensions among the operand's, in order, got [K] -> [V] (C1)}}
  %o = fla.max %k : tensor<?xf64, #fla.dims<K>> -> tensor<?xf64, #fla.dims<V>>
  fla.yield state(%S) outputs(%S) : f64, f64
}

// -----

// softmax_c1: a scalar has nothing to normalise over.
fla.recurrence @softmax_c1 state(%S : f64) (%x : f64) {
  // expected-error@+1 {{expected a value with at least one dimension, got a scalar (C1)}}
  %o = fla.softmax %x : f64
  fla.yield state(%S) outputs(%o) : f64, f64
}

// -----

// assume_c1: a domain is not empty.
fla.recurrence @assume_c1 state(%S : f64) (%x : f64) {
  // expected-error@+1 {{expected min <= max, got 2.000000e+00 > 1.000000e+00 (C1)}}
  %o = fla.assume %x {min = 2.0, max = 1.0} : f64
  fla.yield state(%S) outputs(%o) : f64, f64
}

// -----

// concat_c1: parts agree in what comes before the last dimension.
fla.recurrence @concat_c1 state(%S : f64) (%m : tensor<?x?xf64, #fla.dims<n, K>>, %k : tensor<?xf64, #fla.dims<K>>) {
  // expected-error@+1 {{expected parts whose leading dimensions are those of [2*K], got [n, K] (C1)}}
  %o = fla.concat %k, %m : tensor<?xf64, #fla.dims<K>>, tensor<?x?xf64, #fla.dims<n, K>> -> tensor<?xf64, #fla.dims<"2*K">>
  fla.yield state(%S) outputs(%k) : f64, tensor<?xf64, #fla.dims<K>>
}

// -----

// flatten_c1: two dimensions become one.
fla.recurrence @flatten_c1 state(%S : f64) (%k : tensor<?xf64, #fla.dims<K>>) {
  // expected-error@+1 {{expected the last two dimensions merged into one, got [K] and [K] (C1)}}
  %o = fla.flatten %k : tensor<?xf64, #fla.dims<K>> -> tensor<?xf64, #fla.dims<K>>
  fla.yield state(%S) outputs(%k) : f64, tensor<?xf64, #fla.dims<K>>
}

// -----

// rotate_c1: one angle a pair, for each of the leading positions.
fla.recurrence @rotate_c1 state(%S : f64) (%k : tensor<?xf64, #fla.dims<"2*R">>, %a : tensor<?x?xf64, #fla.dims<n, R>>) {
  // expected-error@+1 {{expected an angle with the leading dimensions of [2*R], got [n, R] (C1)}}
  %o = fla.rotate %k, %a : tensor<?xf64, #fla.dims<"2*R">>, tensor<?x?xf64, #fla.dims<n, R>>
  fla.yield state(%S) outputs(%S) : f64, f64
}

// -----

// index_c1: one dimension goes.
fla.recurrence @index_c1 state(%S : f64) (%k : tensor<?xf64, #fla.dims<K>>) {
  // expected-error@+1 {{expected [K] to lack one dimension of [K] (C1)}}
  %o = fla.index %k[0] : tensor<?xf64, #fla.dims<K>> -> tensor<?xf64, #fla.dims<K>>
  fla.yield state(%S) outputs(%S) : f64, f64
}

// -----

// index_c2: positions count from 0.
fla.recurrence @index_c2 state(%S : f64) (%k : tensor<?xf64, #fla.dims<K>>) {
  // expected-error@+1 {{expected a position of at least 0, got -1 (C2)}}
  %o = fla.index %k[-1] : tensor<?xf64, #fla.dims<K>> -> f64
  fla.yield state(%S) outputs(%o) : f64, f64
}

// -----

// rename_c1: axes keep their number.
fla.recurrence @rename_c1 state(%S : f64) (%k : tensor<?xf64, #fla.dims<K>>) {
  // expected-error@+1 {{expected as many dimensions in the result as in the operand, got [K] -> a scalar (C1)}}
  %o = fla.rename %k : tensor<?xf64, #fla.dims<K>> -> f64
  fla.yield state(%S) outputs(%o) : f64, f64
}

// -----

// dot: operands have the same dimensions, never a silent broadcast.
fla.recurrence @dot_types state(%S : f64) (%k : tensor<?xf64, #fla.dims<K>>, %v : tensor<?xf64, #fla.dims<V>>) {
  // expected-note@-1 {{prior use here}}
  // expected-error@+1 {{use of value '%v' expects different type than prior uses}}
  %o = fla.dot %k, %v : tensor<?xf64, #fla.dims<K>>
  fla.yield state(%S) outputs(%o) : f64, f64
}

// -----

// arith: dimensions are part of the type; K does not add to V.
fla.recurrence @mixed_dims state(%S : f64) (%k : tensor<?xf64, #fla.dims<K>>, %v : tensor<?xf64, #fla.dims<V>>) {
  // expected-note@-1 {{prior use here}}
  // expected-error@+1 {{use of value '%v' expects different type than prior uses}}
  %o = arith.addf %k, %v : tensor<?xf64, #fla.dims<K>>
  fla.yield state(%S) outputs(%S) : f64, f64
}

// -----

//===----------------------------------------------------------------------===//
// fla.affine
//===----------------------------------------------------------------------===//

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

// affine_c1: a value for each write.
fla.program @affine_c1 state(%S : !S) (%k : !K, %v : !V) {
  // expected-error@+1 {{expected one value for each of 1 writes, got 0 (C1)}}
  %n = fla.affine %S writes(%k) {row_axis = 0, read_rows = array<i64>, read_versions = array<i64>, query_versions = array<i64>,
                                 query_on_rows = array<i1>} : (!S, !K) -> !S
  fla.yield state(%n) outputs(%v) : !S, !V
}

// -----

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

// affine_c2: a row and a version for each read, a version and a side for each query.
fla.program @affine_c2 state(%S : !S) (%k : !K, %v : !V) {
  // expected-error@+1 {{expected a row and a version for each read, and a version, a side and a result for each query (C2)}}
  %n = fla.affine %S writes(%k) values(%v) reads(%k) {row_axis = 0, read_rows = array<i64: 0>, read_versions = array<i64>,
                                 query_versions = array<i64>, query_on_rows = array<i1>} : (!S, !K, !V, !K) -> !S
  fla.yield state(%n) outputs(%v) : !S, !V
}

// -----

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

// affine_c3: a write does not read what it writes.
fla.program @affine_c3_read state(%S : !S) (%k : !K, %v : !V) {
  // expected-error@+1 {{expected a read of write 0 to see a version from -1 to 0, got 1 (C3)}}
  %n = fla.affine %S writes(%k) values(%v) reads(%k) {row_axis = 0, read_rows = array<i64: 0>, read_versions = array<i64: 1>,
                                 query_versions = array<i64>, query_on_rows = array<i1>} : (!S, !K, !V, !K) -> !S
  fla.yield state(%n) outputs(%v) : !S, !V
}

// -----

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

// affine_c3: a query sees a version that exists.
fla.program @affine_c3_query state(%S : !S) (%k : !K, %v : !V) {
  // expected-error@+1 {{expected a query of a version from -1 to 1, got 2 (C3)}}
  %n, %o = fla.affine %S writes(%k) values(%v) queries(%k) {row_axis = 0, read_rows = array<i64>, read_versions = array<i64>,
                                 query_versions = array<i64: 2>, query_on_rows = array<i1: true>} : (!S, !K, !V, !K) -> (!S, !V)
  fla.yield state(%n) outputs(%o) : !S, !V
}

// -----

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

// affine_c4: rows and columns are not mixed up.
fla.program @affine_c4 state(%S : !S) (%k : !K, %v : !V) {
  // expected-error@+1 {{expected rows over 'V' and values over 'K' (C4)}}
  %n = fla.affine %S writes(%k) values(%v) {row_axis = 1, read_rows = array<i64>, read_versions = array<i64>,
                                 query_versions = array<i64>, query_on_rows = array<i1>} : (!S, !K, !V) -> !S
  fla.yield state(%n) outputs(%v) : !S, !V
}

// -----

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

// affine_c5: a row gate decays rows.
fla.program @affine_c5 state(%S : !S) (%k : !K, %v : !V) {
  // expected-error@+1 {{expected a row gate that is a scalar or over 'K' and a column gate over 'V' (C5)}}
  %n = fla.affine %S row_gate(%v) {row_axis = 0, read_rows = array<i64>, read_versions = array<i64>,
                                 query_versions = array<i64>, query_on_rows = array<i1>} : (!S, !V) -> !S
  fla.yield state(%n) outputs(%v) : !S, !V
}

// -----

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

// affine_c6: a column gate between a read and its write would give each channel its own transition.
fla.program @affine_c6 state(%S : !S) (%k : !K, %v : !V) {
  // expected-error@+1 {{a row reads the state before the gate, which a column gate then separates from its write (C6)}}
  %n = fla.affine %S column_gate(%v) writes(%k) values(%v) reads(%k) {row_axis = 0, read_rows = array<i64: 0>,
                                 read_versions = array<i64: -1>, query_versions = array<i64>, query_on_rows = array<i1>} : (!S, !V, !K, !V, !K) -> !S
  fla.yield state(%n) outputs(%v) : !S, !V
}
