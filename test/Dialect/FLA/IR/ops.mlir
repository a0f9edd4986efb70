// Every operation survives text, the generic form and bytecode.
// RUN: fla-opt %s | fla-opt | FileCheck %s
// RUN: fla-opt %s --mlir-print-op-generic | fla-opt | FileCheck %s
// RUN: fla-opt %s --emit-bytecode | fla-opt | FileCheck %s

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

// Argument names are attributes: they outlive the names of values. Numbers are numbers, however they are spelled.
// CHECK-LABEL: fla.recurrence @arguments
// CHECK-SAME:  state(%S: tensor<?x?xf64, #fla.dims<K, V>> {init = 0xFFF0000000000000 : f64})
// CHECK-SAME:  (%q: tensor<?xf64, #fla.dims<K>>, %k: tensor<?xf64, #fla.dims<K>> {unit}, %v: tensor<?xf64, #fla.dims<V>>,
// CHECK-SAME:  %g: f64 {default = 0.000000e+00 : f64, max = 0.000000e+00 : f64, min = -1.000000e+00 : f64},
// CHECK-SAME:  %A: tensor<?xf64, #fla.dims<K>> {param}, %scale: f64 {default = 1.000000e+00 : f64, value}) {
// CHECK-NEXT:    fla.yield state(%S) outputs(%v) : tensor<?x?xf64, #fla.dims<K, V>>, tensor<?xf64, #fla.dims<V>>
fla.recurrence @arguments state(%S : !S {init = 0xFFF0000000000000 : f64}) (
    %q : !K, %k : !K {unit}, %v : !V, %g : f64 {min = -1, max = 0, default = 0.0}, %A : !K {param},
    %scale : f64 {value, default = 1.0}) {
  fla.yield state(%S) outputs(%v) : !S, !V
}

// What a step may do to a state.
// CHECK-LABEL: fla.recurrence @states
fla.recurrence @states state(%S : !S) (%k : !K, %v : !V, %g : f64, %gk : !K, %gv : !V) {
  // CHECK: %[[DECAYED:.+]] = fla.gate %S, %g : tensor<?x?xf64, #fla.dims<K, V>>, f64
  %0 = fla.gate %S, %g : !S, f64
  // CHECK: %[[ROWS:.+]] = fla.gate %[[DECAYED]], %gk : {{.+}}, tensor<?xf64, #fla.dims<K>>
  %1 = fla.gate %0, %gk : !S, !K
  // CHECK: %[[COLUMNS:.+]] = fla.gate %[[ROWS]], %gv : {{.+}}, tensor<?xf64, #fla.dims<V>>
  %2 = fla.gate %1, %gv : !S, !V
  // CHECK: fla.read %[[COLUMNS]], %k : {{.+}} -> tensor<?xf64, #fla.dims<V>>
  %3 = fla.read %2, %k : !S, !K -> !V
  // CHECK: fla.read %[[COLUMNS]], %v : {{.+}} -> tensor<?xf64, #fla.dims<K>>
  %4 = fla.read %2, %v : !S, !V -> !K
  // CHECK: fla.write %[[COLUMNS]], %k, %{{.+}} :
  %5 = fla.write %2, %k, %3 : !S, !K, !V
  // CHECK: %[[OUTER:.+]] = fla.outer %{{.+}}, %v :
  %6 = fla.outer %4, %v : !K, !V -> !S
  %7 = arith.addf %5, %6 : !S
  fla.yield state(%7) outputs(%3) : !S, !V
}

// Values: products, broadcasts, reductions, functions, shapes and their converses.
// CHECK-LABEL: fla.recurrence @values
fla.recurrence @values state(%h : !K) (%x : !K, %y : !K, %m : tensor<?x?xf64, #fla.dims<n, K>>, %r : tensor<?xf64, #fla.dims<"2*R">>,
    %angle : tensor<?xf64, #fla.dims<R>>, %s : f64) {
  // CHECK: fla.dot %x, %y : tensor<?xf64, #fla.dims<K>>
  %dot = fla.dot %x, %y : !K
  // CHECK: fla.scale %x, %s :
  %scaled = fla.scale %x, %s : !K, f64
  // CHECK: fla.contract %m, %x : tensor<?x?xf64, #fla.dims<n, K>>, tensor<?xf64, #fla.dims<K>> -> tensor<?xf64, #fla.dims<n>>
  %contract = fla.contract %m, %x : tensor<?x?xf64, #fla.dims<n, K>>, !K -> tensor<?xf64, #fla.dims<n>>
  // CHECK: fla.broadcast %s : f64 -> tensor<?xf64, #fla.dims<K>>
  %broadcast = fla.broadcast %s : f64 -> !K
  // CHECK: fla.sum %m : tensor<?x?xf64, #fla.dims<n, K>> -> tensor<?xf64, #fla.dims<K>>
  %sum = fla.sum %m : tensor<?x?xf64, #fla.dims<n, K>> -> !K
  // CHECK: fla.max %m : tensor<?x?xf64, #fla.dims<n, K>> -> f64
  %max = fla.max %m : tensor<?x?xf64, #fla.dims<n, K>> -> f64
  // CHECK: fla.softmax %x : tensor<?xf64, #fla.dims<K>>
  %softmax = fla.softmax %x : !K
  // CHECK: fla.sigmoid %x :
  %sigmoid = fla.sigmoid %x : !K
  // CHECK: fla.softplus %s : f64
  %softplus = fla.softplus %s : f64
  // CHECK: fla.logaddexp %x, %y :
  %logaddexp = fla.logaddexp %x, %y : !K
  // CHECK: fla.assume %x {max = 1.000000e+00 : f64, min = 0.000000e+00 : f64, unit} :
  %assume = fla.assume %x {min = 0.0, max = 1.0, unit} : !K
  // CHECK: %[[CONCAT:.+]] = fla.concat %s, %x : f64, tensor<?xf64, #fla.dims<K>> -> tensor<?xf64, #fla.dims<"1 + K">>
  %concat = fla.concat %s, %x : f64, !K -> tensor<?xf64, #fla.dims<"1 + K">>
  // CHECK: %[[FLAT:.+]] = fla.flatten %m : tensor<?x?xf64, #fla.dims<n, K>> -> tensor<?xf64, #fla.dims<"n*K">>
  %flat = fla.flatten %m : tensor<?x?xf64, #fla.dims<n, K>> -> tensor<?xf64, #fla.dims<"n*K">>
  // CHECK: %[[ROTATED:.+]] = fla.rotate %r, %angle : tensor<?xf64, #fla.dims<"2*R">>, tensor<?xf64, #fla.dims<R>>
  %rotate = fla.rotate %r, %angle : tensor<?xf64, #fla.dims<"2*R">>, tensor<?xf64, #fla.dims<R>>
  // CHECK: fla.index %m[1] : tensor<?x?xf64, #fla.dims<n, K>> -> tensor<?xf64, #fla.dims<K>>
  %index = fla.index %m[1] : tensor<?x?xf64, #fla.dims<n, K>> -> !K
  // CHECK: fla.rename %x : tensor<?xf64, #fla.dims<K>> -> tensor<?xf64, #fla.dims<"K'">>
  %rename = fla.rename %x : !K -> tensor<?xf64, #fla.dims<"K'">>
  // CHECK: fla.split %[[CONCAT]] : tensor<?xf64, #fla.dims<"1 + K">> -> f64, tensor<?xf64, #fla.dims<K>>
  %split:2 = fla.split %concat : tensor<?xf64, #fla.dims<"1 + K">> -> f64, !K
  // CHECK: fla.unflatten %[[FLAT]] : tensor<?xf64, #fla.dims<"n*K">> -> tensor<?x?xf64, #fla.dims<n, K>>
  %unflatten = fla.unflatten %flat : tensor<?xf64, #fla.dims<"n*K">> -> tensor<?x?xf64, #fla.dims<n, K>>
  // CHECK: fla.place %x[1] : tensor<?xf64, #fla.dims<K>> -> tensor<?x?xf64, #fla.dims<n, K>>
  %place = fla.place %x[1] : !K -> tensor<?x?xf64, #fla.dims<n, K>>
  // CHECK: fla.rotate_grad %r, %[[ROTATED]] : tensor<?xf64, #fla.dims<"2*R">> -> tensor<?xf64, #fla.dims<R>>
  %rotate_grad = fla.rotate_grad %r, %rotate : tensor<?xf64, #fla.dims<"2*R">> -> tensor<?xf64, #fla.dims<R>>
  fla.yield state(%h) outputs(%x, %dot) : !K, !K, f64
}

// The canonical form: one operation for each state.
// CHECK-LABEL: fla.program @canonical
fla.program @canonical state(%S : !S, %z : !K) (%q : !K, %k : !K, %v : !V, %g : f64, %gv : !V) {
  // CHECK: %[[NEXT:.+]], %[[ANSWER:.+]] = fla.affine %S row_gate(%g) writes(%k) values(%v) reads(%k) queries(%q)
  // CHECK-SAME: {query_on_rows = array<i1: true>, query_versions = array<i64: 1>, read_rows = array<i64: 0>, read_versions = array<i64: -1>, row_axis = 0 : i64}
  %S2, %o = fla.affine %S row_gate(%g) writes(%k) values(%v) reads(%k) queries(%q)
    {row_axis = 0, read_rows = array<i64: 0>, read_versions = array<i64: -1>, query_versions = array<i64: 1>, query_on_rows = array<i1: true>}
    : (!S, f64, !K, !V, !K, !K) -> (!S, !V)
  // CHECK: %[[Z:.+]] = fla.scan linear %z, %k, %q :
  %z2 = fla.scan linear %z, %k, %q : !K
  // CHECK: fla.yield state(%[[NEXT]], %[[Z]]) outputs(%[[ANSWER]])
  fla.yield state(%S2, %z2) outputs(%o) : !S, !K, !V
}

// A two-sided gate on a transposed state, no writes; the other kinds of scan.
// CHECK-LABEL: fla.program @other_forms
fla.program @other_forms state(%S : !S, %y : !K, %z : !K) (%k : !K, %v : !V) {
  // CHECK: fla.affine %S row_gate(%v) column_gate(%k) queries(%k) {{{.*}}query_on_rows = array<i1: false>{{.*}}row_axis = 1 : i64}
  %S2, %o = fla.affine %S row_gate(%v) column_gate(%k) queries(%k)
    {row_axis = 1, read_rows = array<i64>, read_versions = array<i64>, query_versions = array<i64: -1>, query_on_rows = array<i1: false>}
    : (!S, !V, !K, !K) -> (!S, !V)
  // CHECK: fla.scan log %y,
  %y2 = fla.scan log %y, %k, %k : !K
  // CHECK: fla.scan max %z,
  %z2 = fla.scan max %z, %k, %k : !K
  fla.yield state(%S2, %y2, %z2) outputs(%o) : !S, !K, !K, !V
}
