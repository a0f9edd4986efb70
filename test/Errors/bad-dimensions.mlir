// Steps that mix dimensions or read what is not there: refused at the user's line.
// RUN: fla-opt %s --fla-compile="until=normalize" --verify-diagnostics --split-input-file

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

// K and V do not add, whatever their sizes will be.
fla.recurrence @mixed state(%S : !S) (%k : !K, %v : !V) {
  // expected-note@-1 {{prior use here}}
  // expected-error@+1 {{use of value '%v' expects different type than prior uses}}
  %s = arith.addf %k, %v : !K
  fla.yield state(%S) outputs(%v) : !S, !V
}

// -----

!K = tensor<?xf64, #fla.dims<K>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

// A read over a dimension that the state does not have.
fla.recurrence @wrong_read state(%S : !S) (%q : tensor<?xf64, #fla.dims<D>>) {
  // expected-error@+1 {{'fla.read' op expected a vector over one dimension of the state [K, V], got [D] (C1)}}
  %o = fla.read %S, %q : !S, tensor<?xf64, #fla.dims<D>> -> !K
  fla.yield state(%S) outputs(%o) : !S, !K
}

// -----

!K = tensor<?xf64, #fla.dims<K>>

// A value that no one defined.
fla.recurrence @undefined state(%h : !K) (%x : !K) {
  // expected-error@+1 {{use of undeclared SSA value name}}
  %n = arith.addf %h, %y : !K
  fla.yield state(%n) outputs(%n) : !K, !K
}

// -----

!K = tensor<?xf64, #fla.dims<K>>

// A value of another definition.
fla.recurrence @first state(%h : !K) (%x : !K) {
  fla.yield state(%x) outputs(%h) : !K, !K
}
fla.recurrence @second state(%h : !K) (%x : !K) {
  // expected-error@+1 {{use of undeclared SSA value name}}
  %n = arith.addf %h, %other : !K
  fla.yield state(%n) outputs(%n) : !K, !K
}

// -----

!K = tensor<?xf64, #fla.dims<K>>

// Two definitions of one name.
// expected-note@+1 {{see existing symbol definition here}}
fla.recurrence @same state(%h : !K) (%x : !K) {
  fla.yield state(%x) outputs(%h) : !K, !K
}
// expected-error@+1 {{redefinition of symbol named 'same'}}
fla.recurrence @same state(%h : !K) (%x : !K) {
  fla.yield state(%x) outputs(%h) : !K, !K
}
