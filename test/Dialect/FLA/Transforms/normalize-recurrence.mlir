// Recurrences in canonical form: one fla.affine or fla.scan for each state.
// RUN: fla-opt %s --fla-normalize-recurrence --canonicalize --cse --split-input-file | FileCheck %s

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

// The delta rule with a decay. beta (v - S^T k) becomes a value beta v and a read of -beta k at
// version 0, after the decay; the gate is the logarithm, formed symbolically; the output reads version 1.
// CHECK-LABEL: fla.program @delta
// CHECK-SAME:  class = ["S: matrix state, scalar gate, 1 write a token, solve rank 1, reads after the decay"]
// CHECK-DAG:   %[[V:.+]] = fla.scale %v, %beta
// CHECK-DAG:   %[[K:.+]] = fla.scale %k, %{{.+}}
// CHECK-DAG:   %[[B:.+]] = fla.scale %[[K]], %beta
// CHECK:       %[[NEXT:.+]], %[[O:.+]] = fla.affine %S row_gate(%g) writes(%k) values(%[[V]]) reads(%[[B]]) queries(%q)
// CHECK-SAME:  query_on_rows = array<i1: true>, query_versions = array<i64: 1>, read_rows = array<i64: 0>, read_versions = array<i64: 0>, row_axis = 0
// CHECK-NEXT:  fla.yield state(%[[NEXT]]) outputs(%[[O]])
fla.recurrence @delta state(%S : !S) (%q : !K, %k : !K, %v : !V, %g : f64 {max = 0.0}, %beta : f64) {
  %a = math.exp %g : f64
  %S1 = fla.gate %S, %a : !S, f64
  %u = fla.read %S1, %k : !S, !K -> !V
  %d = arith.subf %v, %u : !V
  %y = fla.scale %d, %beta : !V, f64
  %S2 = fla.write %S1, %k, %y : !S, !K, !V
  %o = fla.read %S2, %q : !S, !K -> !V
  fla.yield state(%S2) outputs(%o) : !S, !V
}

// -----

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

// The same, but the read comes before the decay: version -1, no division by the gate.
// CHECK-LABEL: fla.program @pre_decay
// CHECK-SAME:  reads before the decay
// CHECK-NOT:   arith.divf
// CHECK:       fla.affine %S row_gate(%g) writes(%k) {{.+}} read_versions = array<i64: -1>
fla.recurrence @pre_decay state(%S : !S) (%q : !K, %k : !K, %v : !V, %g : f64 {max = 0.0}) {
  %u = fla.read %S, %k : !S, !K -> !V
  %a = math.exp %g : f64
  %S1 = fla.gate %S, %a : !S, f64
  %d = arith.subf %v, %u : !V
  %S2 = fla.write %S1, %k, %d : !S, !K, !V
  %o = fla.read %S2, %q : !S, !K -> !V
  fla.yield state(%S2) outputs(%o) : !S, !V
}

// -----

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

// A write before the decay is multiplied by it: x becomes e^g k.
// CHECK-LABEL: fla.program @write_first
// CHECK:       %[[A:.+]] = math.exp %g
// CHECK:       %[[X:.+]] = arith.mulf %k, %[[A]]
// CHECK:       fla.affine %S row_gate(%g) writes(%[[X]]) values(%v) queries(%q)
fla.recurrence @write_first state(%S : !S) (%q : !K, %k : !K, %v : !V, %g : !K {max = 0.0}) {
  %S1 = fla.write %S, %k, %v : !S, !K, !V
  %a = math.exp %g : !K
  %S2 = fla.gate %S1, %a : !S, !K
  %o = fla.read %S2, %q : !S, !K -> !V
  fla.yield state(%S2) outputs(%o) : !S, !V
}

// -----

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

// Decays that are no exponentials: their logarithms are formed where they are evidently not negative.
// CHECK-LABEL: fla.program @logarithms
// CHECK-DAG:   %[[A:.+]] = math.log %a
// CHECK-DAG:   %[[SP:.+]] = fla.softplus
// CHECK-DAG:   %[[SIGMOID:.+]] = {{arith.negf|fla.scale|arith.mulf}} %[[SP]]
// CHECK:       fla.affine %S row_gate(%[[A]]) column_gate(%{{.+}})
fla.recurrence @logarithms state(%S : !S) (%k : !K, %v : !V, %a : f64 {min = 0.0, max = 1.0}, %z : !V) {
  %S1 = fla.gate %S, %a : !S, f64
  %s = fla.sigmoid %z : !V
  %S2 = fla.gate %S1, %s : !S, !V
  %S3 = fla.write %S2, %k, %v : !S, !K, !V
  %o = fla.read %S3, %k : !S, !K -> !V
  fla.yield state(%S3) outputs(%o) : !S, !V
}

// -----

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

// Writes of one x that nothing reads between are one row.
// CHECK-LABEL: fla.program @merged_rows
// CHECK:       %[[SUM:.+]] = arith.addf %v, %w
// CHECK:       fla.affine %S writes(%k) values(%[[SUM]]) queries(%k)
fla.recurrence @merged_rows state(%S : !S) (%k : !K, %v : !V, %w : !V) {
  %S1 = fla.write %S, %k, %v : !S, !K, !V
  %S2 = fla.write %S1, %k, %w : !S, !K, !V
  %o = fla.read %S2, %k : !S, !K -> !V
  fla.yield state(%S2) outputs(%o) : !S, !V
}

// -----

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

// S + S: no list of events, but linear in the incoming state (the flat form).
// CHECK-LABEL: fla.program @flat
// CHECK:       fla.affine %S row_gate(
fla.recurrence @flat state(%S : !S) (%k : !K, %v : !V, %g : f64) {
  %a = math.exp %g : f64
  %S1 = fla.gate %S, %a : !S, f64
  %S2 = fla.write %S, %k, %v : !S, !K, !V
  %S3 = arith.addf %S1, %S2 : !S
  %o = fla.read %S3, %k : !S, !K -> !V
  fla.yield state(%S3) outputs(%o) : !S, !V
}

// -----

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

// Reads from the right feed the state: it is taken transposed, rows being V.
// CHECK-LABEL: fla.program @transposed
// CHECK:       fla.affine %S writes(%v) values(%k) reads(%{{.+}}) queries(%k) {query_on_rows = array<i1: false>{{.+}} row_axis = 1
fla.recurrence @transposed state(%S : !S) (%k : !K, %v : !V) {
  %u = fla.read %S, %v : !S, !V -> !K
  %d = arith.subf %k, %u : !K
  %S1 = fla.write %S, %d, %v : !S, !K, !V
  %o = fla.read %S1, %k : !S, !K -> !V
  fla.yield state(%S1) outputs(%o) : !S, !V
}

// -----

!K = tensor<?xf64, #fla.dims<K>>

// Elementwise states: a decayed sum, a previous value (decay 0), logaddexp, a running maximum.
// CHECK-LABEL: fla.program @elementwise
// CHECK-DAG:   %[[ZERO:.+]] = fla.broadcast %{{.+}} : f64 -> tensor<?xf64, #fla.dims<K>>
// CHECK-DAG:   %[[A:.+]] = math.exp %g
// CHECK-DAG:   %[[H:.+]] = fla.scan linear %h, %[[A]], %x
// CHECK-DAG:   %[[P:.+]] = fla.scan linear %prev, %[[ZERO]], %x
// CHECK-DAG:   %[[Z:.+]] = fla.scan log %z, %g, %x
// CHECK-DAG:   %[[M:.+]] = fla.scan max %m, %[[ZERO]], %x
// CHECK:       fla.yield state(%[[H]], %[[P]], %[[Z]], %[[M]]) outputs(%[[H]], %prev)
fla.recurrence @elementwise state(%h : !K, %prev : !K, %z : !K, %m : !K) (%x : !K, %g : !K {max = 0.0}) {
  %a = math.exp %g : !K
  %h1 = arith.mulf %a, %h : !K
  %h2 = arith.addf %h1, %x : !K
  %z1 = arith.addf %z, %g : !K
  %z2 = fla.logaddexp %z1, %x : !K
  %m2 = arith.maximumf %m, %x : !K
  fla.yield state(%h2, %x, %z2, %m2) outputs(%h2, %prev) : !K, !K, !K, !K, !K, !K
}

// -----

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

// Strata: the state that feeds comes first, whatever the order of the arguments.
// CHECK-LABEL: fla.program @strata
// CHECK:       %{{.+}}, %[[READ:.+]] = fla.affine %B
// CHECK:       %[[SOFT:.+]] = fla.softmax %[[READ]]
// CHECK:       fla.affine %A writes(%k) values(%[[SOFT]])
fla.recurrence @strata state(%A : !S, %B : !S) (%k : !K, %v : !V) {
  %B1 = fla.write %B, %k, %v : !S, !K, !V
  %u = fla.read %B1, %k : !S, !K -> !V
  %s = fla.softmax %u : !V
  %A1 = fla.write %A, %k, %s : !S, !K, !V
  %o = fla.read %A1, %k : !S, !K -> !V
  fla.yield state(%A1, %B1) outputs(%o) : !S, !S, !V
}
