// What needs whole columns leaves the scan, so that a grid may cut them.
// RUN: fla-opt %s --fla-distribute | FileCheck %s
// RUN: fla-opt %s --fla-distribute --fla-differentiate=forward=replay | FileCheck %s --check-prefix=REVERSE

!T = tensor<?xf64, #fla.dims<tokens>>
!TK = tensor<?x?xf64, #fla.dims<tokens, K>>
!TV = tensor<?x?xf64, #fla.dims<tokens, V>>
!P = tensor<?x?xf64, #fla.dims<tokens, past>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

// The key's scaling has no columns: it runs before, once for all blocks.
// CHECK-LABEL: chunk.program @f_prologue
// CHECK-SAME: tokens(%k: {{.*}}, %beta: {{.*}}) -> (f.0)
// CHECK: fla.scale
// The scan reads the scaled key by name and hands on what it read.
// CHECK-LABEL: chunk.program @f tokens(
// CHECK-SAME: %f.0: {{.*}} {temp}
// CHECK-SAME: carries(%S: {{.*}}) -> (f.1, S, S)
// CHECK-NOT: fla.softmax
// The softmax over the columns comes after it.
// CHECK-LABEL: chunk.program @f_epilogue tokens(%f.1: {{.*}} {temp}) -> (o)
// CHECK: fla.softmax

// Backwards the parts run in the opposite order.
// REVERSE: chunk.program @f_epilogue_backward reverse
// REVERSE-SAME: -> (d_f.1)
// REVERSE: chunk.program @f_backward reverse
// REVERSE-SAME: %d_f.1
// REVERSE: chunk.program @f_prologue_backward reverse
// REVERSE-SAME: %d_f.0
chunk.program @f tokens(%q : !TK, %k : !TK, %v : !TV, %beta : !T) carries(%S : !S) -> (o, S, S) {
  %x = fla.scale %k, %beta : !TK, !T
  %p = chunk.score %q, %x : (!TK, !TK) -> !P
  %a = chunk.apply %p, %v : (!P, !TV) -> !TV
  %r = fla.contract %q, %S : !TK, !S -> !TV
  %s = arith.addf %a, %r : !TV
  %o = fla.softmax %s : !TV
  %w = fla.contract %x, %v : !TK, !TV -> !S
  %n = arith.addf %S, %w : !S
  chunk.yield tokens(%o) carries(%n) saved(%S) : !TV, !S, !S
}

// A state without the columns keeps its program whole.
// CHECK-LABEL: chunk.program @whole tokens(
// CHECK-NOT: @whole_prologue
chunk.program @whole tokens(%q : !TK, %k : !TK, %v : !TV) carries(%z : tensor<?xf64, #fla.dims<K>>, %S : !S) -> (o, z, S, z, S) {
  %r = fla.contract %q, %S : !TK, !S -> !TV
  %o = fla.softmax %r : !TV
  %w = fla.contract %k, %v : !TK, !TV -> !S
  %n = arith.addf %S, %w : !S
  chunk.yield tokens(%o) carries(%z, %n) saved(%z, %S) : !TV, tensor<?xf64, #fla.dims<K>>, !S, tensor<?xf64, #fla.dims<K>>, !S
}
