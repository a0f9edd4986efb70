// Canonical programs as one scan over chunks of tokens.
// RUN: fla-opt %s --fla-form-chunks --canonicalize --cse --split-input-file | FileCheck %s

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

// A scalar gate and no solve: the past of the chunk by scores, what came before by the carried state.
// Rows past the sequence's end are neutral: selected, not multiplied.
// CHECK-LABEL: chunk.program @gated tokens(%q: tensor<?x?xf64, #fla.dims<tokens, K>>, %k:
// CHECK-SAME:  carries(%S: tensor<?x?xf64, #fla.dims<K, V>>) -> (o, S, S)
// CHECK-DAG:   %[[X:.+]] = chunk.pad %k, 0.000000e+00
// CHECK-DAG:   %[[Y:.+]] = chunk.pad %v, 0.000000e+00
// CHECK-DAG:   %[[Q:.+]] = chunk.pad %q, 0.000000e+00
// CHECK-DAG:   %[[G:.+]] = chunk.pad %g, 0.000000e+00
// The state at the chunk's start decays by the gates up to the reader.
// CHECK:       %[[PREFIX:.+]] = chunk.cumsum %[[G]]
// CHECK:       %[[DECAY:.+]] = math.exp %[[PREFIX]]
// CHECK:       %[[QD:.+]] = fla.scale %[[Q]], %[[DECAY]]
// CHECK:       %[[FROM_STATE:.+]] = fla.contract %[[QD]], %S
// CHECK:       %[[P:.+]] = chunk.score %[[Q]], %[[X]] gate(%[[G]])
// CHECK:       %[[FROM_CHUNK:.+]] = chunk.apply %[[P]], %[[Y]]
// CHECK:       %[[O:.+]] = arith.addf %[[FROM_STATE]], %[[FROM_CHUNK]]
// The next state: all gates on the old one, the gates that follow on each write.
// CHECK:       fla.sum %[[G]]
// CHECK:       %[[OLD:.+]] = fla.scale %S
// CHECK:       chunk.cumsum %[[G]] {exclusive, reverse}
// CHECK:       %[[NEW:.+]] = fla.contract %[[X]]
// CHECK:       %[[NEXT:.+]] = arith.addf %[[OLD]], %[[NEW]]
// CHECK-NEXT:  chunk.yield tokens(%[[O]]) carries(%[[NEXT]]) saved(%S)
// CHECK-NOT:   arith.subf
fla.program @gated state(%S : !S) (%q : !K, %k : !K, %v : !V, %g : f64) {
  %next, %o = fla.affine %S row_gate(%g) writes(%k) values(%v) queries(%q)
    {row_axis = 0, read_rows = array<i64>, read_versions = array<i64>, query_versions = array<i64: 1>, query_on_rows = array<i1: true>}
    : (!S, f64, !K, !V, !K) -> (!S, !V)
  fla.yield state(%next) outputs(%o) : !S, !V
}

// -----

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

// A row that reads the state: its values solve Y = R + M Y with M strictly lower. A read at version 0
// sees its own token's gate, a query at version -1 (`pre`) does not.
// CHECK-LABEL: chunk.program @delta
// CHECK:       %[[M:.+]] = chunk.score %{{.+}}, %[[X:.+]] gate(%[[G:.+]]) {strict}
// CHECK:       %[[Y:.+]] = chunk.solve scores(%[[M]]) rows(%{{.+}})
// CHECK:       chunk.cumsum %[[G]] {exclusive}
// CHECK:       %[[P:.+]] = chunk.score %{{.+}}, %[[X]] gate(%[[G]]) {pre, strict}
// CHECK:       chunk.apply %[[P]], %[[Y]]
fla.program @delta state(%S : !S) (%q : !K, %k : !K, %v : !V, %g : f64, %b : !K) {
  %next, %o = fla.affine %S row_gate(%g) writes(%k) values(%v) reads(%b) queries(%q)
    {row_axis = 0, read_rows = array<i64: 0>, read_versions = array<i64: 0>, query_versions = array<i64: -1>, query_on_rows = array<i1: true>}
    : (!S, f64, !K, !V, !K, !K) -> (!S, !V)
  fla.yield state(%next) outputs(%o) : !S, !V
}

// -----

!K = tensor<?xf64, #fla.dims<K>>

// An elementwise state: a scan; a value that the reader takes before the update is `prev`.
// Padding keeps the state: decay 1, input 0.
// CHECK-LABEL: chunk.program @scan
// CHECK:       %[[A:.+]] = chunk.pad %a, 1.000000e+00
// CHECK:       %[[X:.+]] = chunk.pad %x, 0.000000e+00
// CHECK:       %[[PREV:.+]], %[[NEXT:.+]], %[[LAST:.+]] = chunk.scan linear %h, %[[A]], %[[X]]
// CHECK:       chunk.yield tokens(%[[NEXT]], %[[PREV]]) carries(%[[LAST]]) saved(%h)
fla.program @scan state(%h : !K) (%a : !K, %x : !K) {
  %next = fla.scan linear %h, %a, %x : !K
  fla.yield state(%next) outputs(%next, %h) : !K, !K, !K
}

// -----

!K = tensor<?xf64, #fla.dims<K>>

// Under logaddexp and max the neutral input is -inf and the neutral decay 0.
// CHECK-LABEL: chunk.program @log_scan
// CHECK:       %[[A:.+]] = chunk.pad %a, 0.000000e+00
// CHECK:       %[[X:.+]] = chunk.pad %x, 0xFFF0000000000000
// CHECK:       chunk.scan log %h, %[[A]], %[[X]]
fla.program @log_scan state(%h : !K {init = 0xFFF0000000000000 : f64}) (%a : !K, %x : !K) {
  %next = fla.scan log %h, %a, %x : !K
  fla.yield state(%next) outputs(%next) : !K, !K
}

// -----

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

// What depends on parameters alone gains no tokens.
// CHECK-LABEL: chunk.program @params tokens(%k: {{.+}}) params(%w: tensor<?xf64, #fla.dims<K>> {param})
// CHECK:       math.exp %w : tensor<?xf64, #fla.dims<K>>
fla.program @params state(%S : !S) (%k : !K, %v : !V, %w : !K {param}) {
  %a = math.exp %w : !K
  %x = arith.mulf %k, %a : !K
  %next, %o = fla.affine %S writes(%x) values(%v) queries(%k)
    {row_axis = 0, read_rows = array<i64>, read_versions = array<i64>, query_versions = array<i64: 1>, query_on_rows = array<i1: true>}
    : (!S, !K, !V, !K) -> (!S, !V)
  fla.yield state(%next) outputs(%o) : !S, !V
}
