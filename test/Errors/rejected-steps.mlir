// Steps that have no chunkwise form: each is refused at the operation to blame, with the reason,
// what would be accepted instead, and a note at the state.
// RUN: fla-opt %s --fla-normalize-recurrence --verify-diagnostics --split-input-file

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

// A nonlinear function of a read is fed back.
// expected-note@+1 {{the state is declared here}}
fla.recurrence @nonlinear state(%S : !S) (%q : !K, %k : !K, %v : !V) {
  %u = fla.read %S, %k : !S, !K -> !V
  // expected-error@+1 {{state 'S' cannot be chunked: nonlinear use of a value read from the state by 'math.tanh'; only sums, scalar factors, reads and rank-1 writes may feed back}}
  %t = math.tanh %u : !V
  %S1 = fla.write %S, %k, %t : !S, !K, !V
  %o = fla.read %S1, %q : !S, !K -> !V
  fla.yield state(%S1) outputs(%o) : !S, !V
}

// -----

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

// Two reads are multiplied.
// expected-note@+1 {{the state is declared here}}
fla.recurrence @read_times_read state(%S : !S) (%q : !K, %k : !K, %v : !V) {
  %u = fla.read %S, %k : !S, !K -> !V
  %w = fla.read %S, %q : !S, !K -> !V
  // expected-error@+1 {{state 'S' cannot be chunked: product of two values that depend on the state (quadratic in the state); a factor must not depend on it}}
  %t = arith.mulf %u, %w : !V
  %S1 = fla.write %S, %k, %t : !S, !K, !V
  fla.yield state(%S1) outputs(%u) : !S, !V
}

// -----

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

// The state is read with what was read from it.
// expected-note@+1 {{the state is declared here}}
fla.recurrence @read_of_read state(%S : !S) (%k : !K, %v : !V) {
  %u = fla.read %S, %k : !S, !K -> !V
  // expected-error@+1 {{state 'S' cannot be chunked: the state is read with a vector that depends on it (quadratic in the state)}}
  %w = fla.read %S, %u : !S, !V -> !K
  %S1 = fla.write %S, %w, %v : !S, !K, !V
  fla.yield state(%S1) outputs(%u) : !S, !V
}

// -----

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

// A rank-1 term reads the state in both of its vectors.
// expected-note@+1 {{the state is declared here}}
fla.recurrence @both_factors state(%S : !S) (%k : !K, %v : !V) {
  %u = fla.read %S, %k : !S, !K -> !V
  %w = fla.read %S, %v : !S, !V -> !K
  // expected-error@+1 {{state 'S' cannot be chunked: a rank-1 term both of whose vectors read the state (quadratic in the state)}}
  %S1 = fla.write %S, %w, %u : !S, !K, !V
  fla.yield state(%S1) outputs(%u) : !S, !V
}

// -----

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

// w * (v - S^T k) with w over V: each channel would get its own transition.
// expected-note@+1 {{the state is declared here}}
fla.recurrence @channel_rate state(%S : !S) (%k : !K, %v : !V, %w : !V) {
  %u = fla.read %S, %k : !S, !K -> !V
  %d = arith.subf %v, %u : !V
  // expected-error@+1 {{state 'S' cannot be chunked: a read of the state scaled per channel: each channel would get its own transition; scale the key instead, or the value alone}}
  %y = arith.mulf %w, %d : !V
  %S1 = fla.write %S, %k, %y : !S, !K, !V
  fla.yield state(%S1) outputs(%u) : !S, !V
}

// -----

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

// Reads from the left and from the right both feed the state.
// expected-note@+1 {{the state is declared here}}
fla.recurrence @two_sided state(%S : !S) (%k : !K, %v : !V) {
  %u = fla.read %S, %k : !S, !K -> !V
  %S1 = fla.write %S, %k, %u : !S, !K, !V
  %w = fla.read %S1, %v : !S, !V -> !K
  // expected-error@+1 {{state 'S' cannot be chunked: reads from both sides of the state feed it (a two-sided transition); read it on one side only}}
  %S2 = fla.write %S1, %w, %v : !S, !K, !V
  fla.yield state(%S2) outputs(%u) : !S, !V
}

// -----

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

// A decay is computed from a read.
// expected-note@+1 {{the state is declared here}}
fla.recurrence @gate_of_read state(%S : !S) (%k : !K, %v : !V) {
  %u = fla.read %S, %k : !S, !K -> !V
  %e = fla.dot %u, %v : !V
  %a = fla.sigmoid %e : f64
  // expected-error@+1 {{state 'S' cannot be chunked: a decay computed from a read of the state; a decay must not depend on it}}
  %S1 = fla.gate %S, %a : !S, f64
  %S2 = fla.write %S1, %k, %v : !S, !K, !V
  fla.yield state(%S2) outputs(%u) : !S, !V
}

// -----

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

// Two states feed each other within a token; both are named.
// expected-error@+1 {{states feed each other within one token: 'A', 'B'; a state may only feed states that do not feed it}}
fla.recurrence @coupled state(%A : !S, %B : !S) (%k : !K, %v : !V) {
  %u = fla.read %B, %k : !S, !K -> !V
  // expected-note@+1 {{'A' is computed from 'B' here}}
  %A1 = fla.write %A, %k, %u : !S, !K, !V
  %w = fla.read %A, %k : !S, !K -> !V
  // expected-note@+1 {{'B' is computed from 'A' here}}
  %B1 = fla.write %B, %k, %w : !S, !K, !V
  fla.yield state(%A1, %B1) outputs(%u) : !S, !S, !V
}

// -----

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

// Every element decays by itself, and the state is read back.
// expected-note@+1 {{the state is declared here}}
fla.recurrence @full_decay state(%S : !S) (%k : !K, %v : !V, %g : !S) {
  %a = math.exp %g : !S
  // expected-error@+1 {{state 'S' cannot be chunked: decay of every element by itself combined with a read; only an elementwise state may decay so}}
  %S1 = fla.gate %S, %a : !S, !S
  %u = fla.read %S1, %k : !S, !K -> !V
  %d = arith.subf %v, %u : !V
  %S2 = fla.write %S1, %k, %d : !S, !K, !V
  fla.yield state(%S2) outputs(%u) : !S, !V
}

// -----

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

// A decay that may be negative has no logarithm; the message lists what is evidently not.
// expected-note@+1 {{the state is declared here}}
fla.recurrence @negative_decay state(%S : !S) (%k : !K, %v : !V, %a : f64) {
  // expected-error@+1 {{state 'S' cannot be chunked: a decay that may be negative; write it as exp, sigmoid, a positive constant, a product of these, or an argument with min = 0}}
  %S1 = fla.gate %S, %a : !S, f64
  %S2 = fla.write %S1, %k, %v : !S, !K, !V
  %u = fla.read %S2, %k : !S, !K -> !V
  fla.yield state(%S2) outputs(%u) : !S, !V
}

// -----

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

// A matrix state is seen through reads only.
// expected-note@+1 {{the state is declared here}}
fla.recurrence @whole_matrix state(%S : !S) (%k : !K, %v : !V) {
  // expected-error@+1 {{state 'S' is used as a whole; a matrix state is only seen through reads (fla.read)}}
  %t = math.tanh %S : !S
  %u = fla.read %t, %k : !S, !K -> !V
  %S1 = fla.write %S, %k, %v : !S, !K, !V
  fla.yield state(%S1) outputs(%u) : !S, !V
}

// -----

!K = tensor<?xf64, #fla.dims<K>>

// A vector state is elementwise, or nothing.
// expected-note@+1 {{the state is declared here}}
fla.recurrence @vector_state state(%h : !K) (%x : !K) {
  // expected-error@+1 {{state 'h' cannot be chunked: a state of one dimension must be elementwise: decay * state + input, logaddexp(state + a, b), maximum(state + a, b), or overwritten}}
  %t = math.tanh %h : !K
  %n = arith.addf %t, %x : !K
  fla.yield state(%n) outputs(%n) : !K, !K
}

// -----

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

// A matrix that is no sum of outer products does not fit a matrix state that reads.
// expected-note@+1 {{the state is declared here}}
fla.recurrence @full_write state(%S : !S) (%k : !K, %v : !V, %m : !S) {
  %u = fla.read %S, %k : !S, !K -> !V
  %S1 = fla.write %S, %k, %u : !S, !K, !V
  // expected-error@+1 {{state 'S' cannot be chunked: a matrix that is not a sum of outer products is added to the state; only elementwise states take such a term}}
  %S2 = arith.addf %S1, %m : !S
  fla.yield state(%S2) outputs(%u) : !S, !V
}

// -----

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

// A step that forgets its state and then reads it back.
// expected-note@+1 {{the state is declared here}}
fla.recurrence @forgets state(%S : !S) (%k : !K, %v : !V) {
  %u = fla.read %S, %k : !S, !K -> !V
  // expected-error@+1 {{state 'S' cannot be chunked: the next state does not contain the state; use a decay of 0 to overwrite it}}
  %S1 = fla.outer %k, %u : !K, !V -> !S
  fla.yield state(%S1) outputs(%u) : !S, !V
}

// -----

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

// Nor may another state take it as a whole.
// expected-note@+1 {{the state is declared here}}
fla.recurrence @whole_matrix_fed state(%A : !S, %B : !S) (%k : !K, %v : !V, %g : f64) {
  %A1 = fla.write %A, %k, %v : !S, !K, !V
  %a = math.exp %g : f64
  %B1 = fla.scale %B, %a : !S, f64
  // expected-error@+1 {{state 'A' is used as a whole; a matrix state is only seen through reads (fla.read)}}
  %t = math.tanh %A : !S
  %B2 = arith.addf %B1, %t : !S
  %u = fla.read %A1, %k : !S, !K -> !V
  fla.yield state(%A1, %B2) outputs(%u) : !S, !S, !V
}

// -----

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

// An output is a read, not the state, whichever version of it.
// expected-note@+1 {{the state is declared here}}
fla.recurrence @state_as_output state(%S : !S) (%k : !K, %v : !V) {
  %S1 = fla.write %S, %k, %v : !S, !K, !V
  // expected-error@+1 {{state 'S' is used as a whole; a matrix state is only seen through reads (fla.read)}}
  fla.yield state(%S1) outputs(%S1) : !S, !S
}

// -----

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

// A column decay between a read and its write.
// expected-note@+1 {{the state is declared here}}
fla.recurrence @decay_between state(%S : !S) (%k : !K, %v : !V, %g : !V) {
  %u = fla.read %S, %k : !S, !K -> !V
  %a = math.exp %g : !V
  %S1 = fla.gate %S, %a : !S, !V
  // expected-error@+1 {{state 'S' cannot be chunked: a column decay lies between a read and the write that it feeds; read after the decay}}
  %S2 = fla.write %S1, %k, %u : !S, !K, !V
  fla.yield state(%S2) outputs(%u) : !S, !V
}
