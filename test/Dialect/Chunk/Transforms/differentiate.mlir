// Reverse programs: one rule for each operation, the chunks from the last to the first.
// RUN: fla-opt %s --fla-differentiate --canonicalize --cse --split-input-file | FileCheck %s
// RUN: fla-opt %s --fla-differentiate="forward=drop" --split-input-file | FileCheck %s --check-prefix=DROP
// RUN: fla-opt %s --fla-differentiate="forward=replay" --canonicalize --split-input-file | FileCheck %s --check-prefix=REPLAY

!TK = tensor<?x?xf64, #fla.dims<tokens, K>>
!TV = tensor<?x?xf64, #fla.dims<tokens, V>>
!T = tensor<?xf64, #fla.dims<tokens>>
!P = tensor<?x?xf64, #fla.dims<tokens, past>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

// The reverse program takes the gradients of outputs and of the next carries and the states that the
// forward saved, recomputes what it needs, and yields a gradient for each input.
// CHECK-LABEL: chunk.program @attend tokens(
// CHECK-LABEL: chunk.program @attend_backward reverse tokens(%q: {{.+}}, %k: {{.+}}, %v: {{.+}}, %g: {{.+}}, %d_o: tensor<?x?xf64, #fla.dims<tokens, V>>)
// CHECK-SAME:  carries(%d_S: tensor<?x?xf64, #fla.dims<K, V>>) saved(%S: tensor<?x?xf64, #fla.dims<K, V>>) -> (d_q, d_k, d_v, d_g, d_S)
// The forward's operations over pairs of tokens, and those with a gate for each element: both choose the same chunk.
// CHECK-SAME:  attributes {pairs = array<i64: 2, 0>}
// CHECK-DAG:   %[[P:.+]] = chunk.score %q, %k gate(%g)
// The products of P are products of its transpose and of its gradient.
// CHECK-DAG:   %[[DP:.+]] = chunk.score %d_o, %v
// CHECK-DAG:   %[[DV:.+]] = chunk.apply_transposed %[[P]], %d_o
// CHECK-DAG:   %[[DQ:.+]] = chunk.apply %[[DP]], %k gate(%g)
// CHECK-DAG:   %[[DK:.+]] = chunk.apply_transposed %[[DP]], %q gate(%g)
// The gate's gradient sums the terms of the pairs around it: nothing cancels, so nothing is subtracted.
// CHECK-DAG:   %[[DG:.+]] = chunk.gate_grad %[[DP]], %q, %k gate(%g)
// CHECK-NOT:   arith.subf
// CHECK:       chunk.yield tokens(

// DROP-NOT:    chunk.program @attend tokens
// DROP:        chunk.program @attend_backward reverse

// A replay only saves the states: kernels of it have no outputs.
// REPLAY-LABEL: chunk.program @attend tokens(
// REPLAY-SAME:  attributes {replay}
// REPLAY:       chunk.program @attend_backward reverse
chunk.program @attend tokens(%q : !TK, %k : !TK, %v : !TV, %g : !T) carries(%S : !S) -> (o, S, S) {
  %p = chunk.score %q, %k gate(%g) : (!TK, !TK, !T) -> !P
  %a = chunk.apply %p, %v : (!P, !TV) -> !TV
  %b = fla.contract %q, %S : !TK, !S -> !TV
  %o = arith.addf %a, %b : !TV
  %w = fla.contract %k, %v : !TK, !TV -> !S
  %n = arith.addf %S, %w : !S
  chunk.yield tokens(%o) carries(%n) saved(%S) : !TV, !S, !S
}

// -----

!TV = tensor<?x?xf64, #fla.dims<tokens, V>>
!P = tensor<?x?xf64, #fla.dims<tokens, past>>
!D = tensor<?xf64, #fla.dims<V>>

// No differentiation through the inverse: dR solves the transposed system, dM = dR Y^T.
// CHECK-LABEL: chunk.program @solve_backward reverse
// CHECK:       %[[Y:.+]] = chunk.solve scores(%m) rows(%r)
// CHECK:       %[[DR:.+]] = chunk.solve scores(%m) rows(%d_o) {transposed}
// CHECK:       %[[DM:.+]] = chunk.score %[[DR]], %[[Y]] {strict}
// CHECK:       chunk.yield tokens(%[[DM]], %[[DR]])
chunk.program @solve tokens(%m : !P, %r : !TV) carries(%h : !D) -> (o, h, h) {
  %y = chunk.solve scores(%m) rows(%r) : (!P, !TV) -> !TV
  chunk.yield tokens(%y) carries(%h) saved(%h) : !TV, !D, !D
}

// -----

!T = tensor<?xf64, #fla.dims<tokens>>

// The gradient of a parameter is a sum over all chunks; `value`s (run-time floats) have none.
// CHECK-LABEL: chunk.program @params_backward reverse tokens(%x: {{.+}}, %d_o: {{.+}}) params(%w: f64 {param}, %c: f64 {value})
// CHECK-SAME:  -> (d_x, d_h, d_w)
// CHECK:       %[[SUM:.+]] = fla.{{sum|contract}} {{.+}} -> f64
// CHECK:       chunk.yield tokens(%{{.+}}) carries(%d_h) sums(%{{.+}})
chunk.program @params tokens(%x : !T) params(%w : f64 {param}, %c : f64 {value}) carries(%h : f64) -> (o, h, h) {
  %e = fla.scale %x, %w : !T, f64
  %f = fla.scale %e, %c : !T, f64
  chunk.yield tokens(%f) carries(%h) saved(%h) : !T, f64, f64
}

// -----

!TK = tensor<?x?xf64, #fla.dims<tokens, K>>
!K = tensor<?xf64, #fla.dims<K>>

// An elementwise scan has a rule of its own.
// CHECK-LABEL: chunk.program @scan_backward reverse
// CHECK:       %[[PREV:.+]], %[[NEXT:.+]], %{{.+}} = chunk.scan linear %h, %a, %x
// CHECK:       %[[DH:.+]], %[[DA:.+]], %[[DX:.+]] = chunk.scan_grad linear %a, %x, %[[PREV]], %[[NEXT]], %{{.+}}, %d_o, %d_h
// CHECK:       chunk.yield tokens(%[[DA]], %[[DX]]) carries(%[[DH]])
chunk.program @scan tokens(%a : !TK, %x : !TK) carries(%h : !K) -> (o, h, h) {
  %prev, %next, %last = chunk.scan linear %h, %a, %x : !K, !TK
  chunk.yield tokens(%next) carries(%last) saved(%h) : !TK, !K, !K
}
