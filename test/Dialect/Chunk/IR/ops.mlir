// Every operation survives text, the generic form and bytecode.
// RUN: fla-opt %s | fla-opt | FileCheck %s
// RUN: fla-opt %s --mlir-print-op-generic | fla-opt | FileCheck %s
// RUN: fla-opt %s --emit-bytecode | fla-opt | FileCheck %s

!TK = tensor<?x?xf64, #fla.dims<tokens, K>>
!TV = tensor<?x?xf64, #fla.dims<tokens, V>>
!T = tensor<?xf64, #fla.dims<tokens>>
!P = tensor<?x?xf64, #fla.dims<tokens, past>>
!S = tensor<?x?xf64, #fla.dims<K, V>>
!D = tensor<?xf64, #fla.dims<K>>

// Four kinds of arguments and of results; sections that are empty are not printed.
// CHECK-LABEL: chunk.program @sections reverse
// CHECK-SAME:  tokens(%q: tensor<?x?xf64, #fla.dims<tokens, K>>) params(%w: f64 {value}) carries(%d_S: tensor<?x?xf64, #fla.dims<K, V>>)
// CHECK-SAME:  saved(%S: tensor<?x?xf64, #fla.dims<K, V>>) -> (d_q, d_S, "the state", d_w) {
// CHECK-NEXT:    chunk.yield tokens(%q) carries(%d_S) saved(%S) sums(%w) :
chunk.program @sections reverse tokens(%q : !TK) params(%w : f64 {value}) carries(%d_S : !S) saved(%S : !S) -> (d_q, d_S, "the state", d_w) {
  chunk.yield tokens(%q) carries(%d_S) saved(%S) sums(%w) : !TK, !S, !S, f64
}

// Pairs of tokens: no gate, a scalar gate, a vector gate, a constant gate.
// CHECK-LABEL: chunk.program @pairs tokens(
chunk.program @pairs tokens(%q : !TK, %k : !TK, %v : !TV, %g : !T, %gk : !TK) params(%c : f64) carries(%S : !S) -> (o, S) {
  // CHECK: %[[P:.+]] = chunk.score %q, %k :
  %p = chunk.score %q, %k : (!TK, !TK) -> !P
  // CHECK: chunk.score %q, %k gate(%g) {strict} :
  %m = chunk.score %q, %k gate(%g) {strict} : (!TK, !TK, !T) -> !P
  // CHECK: chunk.score %q, %k gate(%gk) {pre, strict} :
  %n = chunk.score %q, %k gate(%gk) {pre, strict} : (!TK, !TK, !TK) -> !P
  // CHECK: chunk.score %q, %k gate(%c) :
  %r = chunk.score %q, %k gate(%c) : (!TK, !TK, f64) -> !P
  // CHECK: chunk.apply %[[P]], %v :
  %o = chunk.apply %p, %v : (!P, !TV) -> !TV
  // CHECK: chunk.apply_transposed %[[P]], %k gate(%gk) :
  %t = chunk.apply_transposed %p, %k gate(%gk) : (!P, !TK, !TK) -> !TK
  // CHECK: chunk.gate_grad %[[P]], %q, %k gate(%g) {pre, strict} :
  %d = chunk.gate_grad %p, %q, %k gate(%g) {pre, strict} : (!P, !TK, !TK, !T) -> !T
  // CHECK: chunk.solve scores(%[[P]]) rows(%v) :
  %y = chunk.solve scores(%p) rows(%v) : (!P, !TV) -> !TV
  // CHECK: chunk.solve scores(%[[P]], %[[P]], %[[P]], %[[P]]) rows(%v, %v) gate(%g) {transposed} :
  %z:2 = chunk.solve scores(%p, %p, %p, %p) rows(%v, %v) gate(%g) {transposed} : (!P, !P, !P, !P, !TV, !TV, !T) -> (!TV, !TV)
  chunk.yield tokens(%o) carries(%S) : !TV, !S
}

// Along the tokens of a chunk.
// CHECK-LABEL: chunk.program @along tokens(
chunk.program @along tokens(%g : !T, %a : !TK, %x : !TK) carries(%h : !D) -> (o, h) {
  // CHECK: chunk.cumsum %g :
  %0 = chunk.cumsum %g : !T
  // CHECK: chunk.cumsum %g {exclusive, reverse} :
  %1 = chunk.cumsum %g {reverse, exclusive} : !T
  // CHECK: chunk.pad %x, 0xFFF0000000000000 :
  %2 = chunk.pad %x, 0xFFF0000000000000 : !TK
  // CHECK: %[[PREV:.+]], %[[NEXT:.+]], %[[LAST:.+]] = chunk.scan linear %h, %a, %x :
  %prev, %next, %last = chunk.scan linear %h, %a, %x : !D, !TK
  // CHECK: chunk.scan_grad max %a, %x, %[[PREV]], %[[NEXT]], %x, %x, %h :
  %di, %da, %dx = chunk.scan_grad max %a, %x, %prev, %next, %x, %x, %h : !D, !TK
  chunk.yield tokens(%next) carries(%last) : !TK, !D
}
