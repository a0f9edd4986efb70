// Tokens of a chunk where nothing is asked for, on a GPU (`shared`): 64, less where work grows with them.
// RUN: fla-opt %s --fla-kernelize="dims=K:64,V:64 shared=232448 dtype=bf16" --split-input-file | FileCheck %s
// RUN: fla-opt %s --fla-kernelize="dims=K:64,V:64 shared=232448 dtype=bf16 save-states=true" --split-input-file | FileCheck %s --check-prefix=SAVE

!TK = tensor<?x?xf64, #fla.dims<tokens, K>>
!TV = tensor<?x?xf64, #fla.dims<tokens, V>>
!P = tensor<?x?xf64, #fla.dims<tokens, past>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

// Two operations over pairs of tokens.
// CHECK: tile.kernel @two({{.*}} chunk = 64 : i64
// SAVE:  tile.kernel @two({{.*}} chunk = 64 : i64
chunk.program @two tokens(%q : !TK, %k : !TK, %v : !TV) carries(%S : !S) -> (o, S, S) {
  %p = chunk.score %q, %k : (!TK, !TK) -> !P
  %o = chunk.apply %p, %v : (!P, !TV) -> !TV
  %w = fla.contract %k, %v : !TK, !TV -> !S
  %n = arith.addf %S, %w : !S
  chunk.yield tokens(%o) carries(%n) saved(%S) : !TV, !S, !S
}

// -----

!TK = tensor<?x?xf64, #fla.dims<tokens, K>>
!TV = tensor<?x?xf64, #fla.dims<tokens, V>>
!P = tensor<?x?xf64, #fla.dims<tokens, past>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

// Six.
// CHECK: tile.kernel @six({{.*}} chunk = 32 : i64
// SAVE:  tile.kernel @six({{.*}} chunk = 32 : i64
chunk.program @six tokens(%q : !TK, %k : !TK, %v : !TV) carries(%S : !S) -> (o, S, S) {
  %p = chunk.score %q, %k : (!TK, !TK) -> !P
  %a = chunk.apply %p, %v : (!P, !TV) -> !TV
  %r = chunk.score %k, %q : (!TK, !TK) -> !P
  %b = chunk.apply %r, %a : (!P, !TV) -> !TV
  %s = chunk.score %k, %k : (!TK, !TK) -> !P
  %o = chunk.apply %s, %b : (!P, !TV) -> !TV
  %w = fla.contract %k, %v : !TK, !TV -> !S
  %n = arith.addf %S, %w : !S
  chunk.yield tokens(%o) carries(%n) saved(%S) : !TV, !S, !S
}

// -----

!TK = tensor<?x?xf64, #fla.dims<tokens, K>>
!TV = tensor<?x?xf64, #fla.dims<tokens, V>>
!P = tensor<?x?xf64, #fla.dims<tokens, past>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

// One with a gate for each element: the reverse has dyadic levels in three operations, and the
// forward that saves states for it takes the same chunk.
// CHECK: tile.kernel @gated({{.*}} chunk = 64 : i64
// SAVE:  tile.kernel @gated({{.*}} chunk = 16 : i64
chunk.program @gated tokens(%q : !TK, %k : !TK, %v : !TV, %g : !TK) carries(%S : !S) -> (o, S, S) {
  %p = chunk.score %q, %k gate(%g) : (!TK, !TK, !TK) -> !P
  %o = chunk.apply %p, %v : (!P, !TV) -> !TV
  %w = fla.contract %k, %v : !TK, !TV -> !S
  %n = arith.addf %S, %w : !S
  chunk.yield tokens(%o) carries(%n) saved(%S) : !TV, !S, !S
}

// -----

!TK = tensor<?x?xf64, #fla.dims<tokens, K>>
!TV = tensor<?x?xf64, #fla.dims<tokens, V>>
!P = tensor<?x?xf64, #fla.dims<tokens, past>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

// Two of them: 32 in either case.
// CHECK: tile.kernel @levels({{.*}} chunk = 32 : i64
// SAVE:  tile.kernel @levels({{.*}} chunk = 32 : i64
chunk.program @levels tokens(%q : !TK, %k : !TK, %v : !TV, %g : !TK, %h : !TV) carries(%S : !S) -> (o, S, S) {
  %p = chunk.score %q, %k gate(%g) : (!TK, !TK, !TK) -> !P
  %o = chunk.apply %p, %v gate(%h) : (!P, !TV, !TV) -> !TV
  %w = fla.contract %k, %v : !TK, !TV -> !S
  %n = arith.addf %S, %w : !S
  chunk.yield tokens(%o) carries(%n) saved(%S) : !TV, !S, !S
}

// -----

!TK = tensor<?x?xf64, #fla.dims<tokens, K>>
!TV = tensor<?x?xf64, #fla.dims<tokens, V>>
!P = tensor<?x?xf64, #fla.dims<tokens, past>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

// A reverse asks what its forward had (`pairs`: how many, and with a gate for each element), not what it has.
// CHECK: tile.kernel @told({{.*}} chunk = 16 : i64
// SAVE:  tile.kernel @told({{.*}} chunk = 16 : i64
chunk.program @told reverse tokens(%q : !TK, %k : !TK, %d_o : !TV) carries(%d_S : !S) saved(%S : !S) -> (d_q, d_k, d_S) attributes {pairs = array<i64: 2, 1>} {
  %p = chunk.score %q, %k : (!TK, !TK) -> !P
  %a = chunk.apply %p, %q : (!P, !TK) -> !TK
  %b = chunk.apply_transposed %p, %k : (!P, !TK) -> !TK
  %w = fla.contract %q, %d_o : !TK, !TV -> !S
  %n = arith.addf %d_S, %w : !S
  chunk.yield tokens(%a, %b) carries(%n) : !TK, !TK, !S
}
