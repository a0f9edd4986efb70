// One case for each numbered constraint, named by operation and number.
// RUN: fla-opt %s --verify-diagnostics --split-input-file

!TK = tensor<?x?xf64, #fla.dims<tokens, K>>
!D = tensor<?xf64, #fla.dims<K>>

// program_c1: a token argument has a row for each token.
// expected-error@+1 {{expected argument 'q' to have the leading dimension 'tokens', got [K] (C1)}}
chunk.program @program_c1 tokens(%q : !D) carries(%h : !D) -> (o, h) {
  chunk.yield tokens(%q) carries(%h) : !D, !D
}

// -----

!TK = tensor<?x?xf64, #fla.dims<tokens, K>>

// program_c1: and nothing else has.
// expected-error@+1 {{expected argument 'h' not to have the leading dimension 'tokens', got [tokens, K] (C1)}}
chunk.program @program_c1_carry tokens(%q : !TK) carries(%h : !TK) -> (o, h) {
  chunk.yield tokens(%q) carries(%h) : !TK, !TK
}

// -----

!TK = tensor<?x?xf64, #fla.dims<tokens, K>>
!D = tensor<?xf64, #fla.dims<K>>

// program_c2: carries go round.
chunk.program @program_c2 tokens(%q : !TK) carries(%h : !D) -> (o, h) {
  // expected-error@+1 {{expected the next carries to have the types of the carries (C2)}}
  chunk.yield tokens(%q) carries(%q) : !TK, !TK
}

// -----

!TK = tensor<?x?xf64, #fla.dims<tokens, K>>
!D = tensor<?xf64, #fla.dims<K>>

// program_c2: a program ends in its yield.
// expected-error@+1 {{expected the body to end in 'chunk.yield' (C2)}}
chunk.program @program_c2_missing tokens(%q : !TK) carries(%h : !D) -> (o, h) {
  %0 = arith.negf %q : !TK
}

// -----

!TK = tensor<?x?xf64, #fla.dims<tokens, K>>
!D = tensor<?xf64, #fla.dims<K>>

// program_c3: every result has a name.
chunk.program @program_c3 tokens(%q : !TK) carries(%h : !D) -> (o) {
  // expected-error@+1 {{expected one name for each of 2 results, got 1 (C3)}}
  chunk.yield tokens(%q) carries(%h) : !TK, !D
}

// -----

!TK = tensor<?x?xf64, #fla.dims<tokens, K>>
!TV = tensor<?x?xf64, #fla.dims<tokens, V>>
!P = tensor<?x?xf64, #fla.dims<tokens, past>>

// score_c1: readers and writers meet in one dimension.
chunk.program @score_c1 tokens(%q : !TK, %v : !TV) -> (o) {
  // expected-error@+1 {{expected values over 'tokens' and one more dimension, the same for both, got [tokens, V] (C1)}}
  %p = chunk.score %q, %v : (!TK, !TV) -> !P
  chunk.yield tokens(%q) : !TK
}

// -----

!TK = tensor<?x?xf64, #fla.dims<tokens, K>>
!TV = tensor<?x?xf64, #fla.dims<tokens, V>>
!P = tensor<?x?xf64, #fla.dims<tokens, past>>

// score_c2: the gate decays what is multiplied.
chunk.program @score_c2 tokens(%q : !TK, %v : !TV) -> (o) {
  // expected-error@+1 {{expected a gate over dimensions of [tokens, K], got [tokens, V] (C2)}}
  %p = chunk.score %q, %q gate(%v) : (!TK, !TK, !TV) -> !P
  chunk.yield tokens(%q) : !TK
}

// -----

!TK = tensor<?x?xf64, #fla.dims<tokens, K>>

// score_c3: one number for each pair.
chunk.program @score_c3 tokens(%q : !TK) -> (o) {
  // expected-error@+1 {{expected a 'tokens' x 'past' matrix (C3)}}
  %p = chunk.score %q, %q : (!TK, !TK) -> !TK
  chunk.yield tokens(%q) : !TK
}

// -----

!TK = tensor<?x?xf64, #fla.dims<tokens, K>>
!T = tensor<?xf64, #fla.dims<tokens>>
!P = tensor<?x?xf64, #fla.dims<tokens, past>>

// score_c4: before its gate a reader cannot see its own write.
chunk.program @score_c4 tokens(%q : !TK, %g : !T) -> (o) {
  // expected-error@+1 {{'pre' requires 'strict': before its own gate a reader does not see its own write (C4)}}
  %p = chunk.score %q, %q gate(%g) {pre} : (!TK, !TK, !T) -> !P
  chunk.yield tokens(%q) : !TK
}

// -----

!TK = tensor<?x?xf64, #fla.dims<tokens, K>>

// apply_c3: what is applied are scores.
chunk.program @apply_c3 tokens(%q : !TK) -> (o) {
  // expected-error@+1 {{expected a 'tokens' x 'past' matrix (C3)}}
  %p = chunk.apply %q, %q : (!TK, !TK) -> !TK
  chunk.yield tokens(%q) : !TK
}

// -----

!TK = tensor<?x?xf64, #fla.dims<tokens, K>>
!TV = tensor<?x?xf64, #fla.dims<tokens, V>>
!P = tensor<?x?xf64, #fla.dims<tokens, past>>

// apply_transposed_c1: the result is like what is summed.
chunk.program @apply_transposed_c1 tokens(%q : !TK, %p : !P) -> (o) {
  // expected-error@+1 {{expected values over 'tokens' and one more dimension, the same for both, got [tokens, K] (C1)}}
  %x = chunk.apply_transposed %p, %q : (!P, !TK) -> !TV
  chunk.yield tokens(%q) : !TK
}

// -----

!TK = tensor<?x?xf64, #fla.dims<tokens, K>>
!P = tensor<?x?xf64, #fla.dims<tokens, past>>

// solve_c1: n rows couple in n*n ways.
chunk.program @solve_c1 tokens(%q : !TK, %p : !P) -> (o) {
  // expected-error@+1 {{expected 4 scores and 2 results for 2 rows, got 1 and 2 (C1)}}
  %y:2 = chunk.solve scores(%p) rows(%q, %q) : (!P, !TK, !TK) -> (!TK, !TK)
  chunk.yield tokens(%q) : !TK
}
