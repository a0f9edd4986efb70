// Chunk programs as kernels over tiles of static shape.
// RUN: fla-opt %s --fla-kernelize="dims=K:16,V:8 chunk=4 dtype=bf16 dtypes=g:f32" --split-input-file | FileCheck %s
// RUN: fla-opt %s --fla-kernelize="dims=K:16,V:8 chunk=4 save-states=true" --split-input-file | FileCheck %s --check-prefix=SAVE
// RUN: fla-opt %s --fla-kernelize="dims=K:16,V:8 chunk=4 dtype=f64" --split-input-file | FileCheck %s --check-prefix=WIDE

!TK = tensor<?x?xf64, #fla.dims<tokens, K>>
!TV = tensor<?x?xf64, #fla.dims<tokens, V>>
!T = tensor<?xf64, #fla.dims<tokens>>
!P = tensor<?x?xf64, #fla.dims<tokens, past>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

// Buffers have storage types, tiles the compute type; states start at `init` when the caller gives none.
// CHECK-LABEL: tile.kernel @scalar_gate(%q: !tile.buffer<token, 16xbf16>, %k: !tile.buffer<token, 16xbf16>, %v: !tile.buffer<token, 8xbf16>,
// CHECK-SAME:  %g: !tile.buffer<token, f32>, %w: !tile.buffer<param, bf16>, %scale: !tile.buffer<value, f64>, %initial_S: !tile.buffer<state, 16x8xf32>,
// CHECK-SAME:  out %o: !tile.buffer<token, 8xbf16>, out %final_S: !tile.buffer<state, 16x8xf32>) attributes {{{.*}}chunk = 4 : i64
// CHECK-DAG:   %[[W:.+]] = tile.load %w : <param, bf16> -> f32
// CHECK-DAG:   %[[INIT:.+]] = tile.load %initial_S {absent = 1.000000e+00 : f64}
// CHECK-DAG:   %[[N:.+]] = tile.num_chunks
// CHECK:       %[[LAST:.+]] = scf.for %[[C:.+]] = %{{.+}} to %[[N]] step %{{.+}} iter_args(%[[S:.+]] = %[[INIT]])
// CHECK:       %[[Q:.+]] = tile.load %q[%[[C]]] : <token, 16xbf16> -> tensor<4x16xf32>
// A scalar gate is one table of sums between tokens, applied to the scores; its invisible pairs are -inf.
// CHECK:       %[[QK:.+]] = tile.dot %[[Q]], %{{.+}} pairs(causal) {transpose_b}
// CHECK:       %[[TABLE:.+]] = tile.segsum %{{.+}} : tensor<4xf32> -> tensor<4x4xf32>
// CHECK:       %[[GATES:.+]] = math.exp %[[TABLE]]
// CHECK:       %[[P:.+]] = arith.mulf %[[QK]], %[[GATES]]
// CHECK:       %[[O:.+]] = tile.dot %[[P]], %{{.+}} pairs(causal) : tensor<4x4xf32>, tensor<4x8xf32> -> tensor<4x8xf32>
// CHECK:       tile.store %[[O]], %o[%[[C]]]
// CHECK:       scf.yield
// CHECK:       tile.store %[[LAST]], %final_S
// CHECK-NOT:   saved

// For a backward the forward may save the state at each chunk's start.
// SAVE-LABEL:  tile.kernel @scalar_gate
// SAVE-SAME:   out %saved_S: !tile.buffer<saved, 16x8xf32>
// SAVE:        scf.for %[[C:.+]] = {{.+}} iter_args(%[[S:.+]] = %{{.+}})
// SAVE:        tile.store %[[S]], %saved_S[%[[C]]]

// f64 inputs compute in f64.
// WIDE-LABEL:  tile.kernel @scalar_gate(%q: !tile.buffer<token, 16xf64>
// WIDE:        tile.dot {{.*}} : tensor<4x16xf64>, tensor<4x16xf64> -> tensor<4x4xf64>
chunk.program @scalar_gate tokens(%q : !TK, %k : !TK, %v : !TV, %g : !T) params(%w : f64 {param}, %scale : f64 {value})
    carries(%S : !S {init = 1.0 : f64}) -> (o, S, S) {
  %gw = fla.scale %g, %w : !T, f64
  %qs = fla.scale %q, %scale : !TK, f64
  %p = chunk.score %q, %k gate(%gw) : (!TK, !TK, !T) -> !P
  %a = chunk.apply %p, %v : (!P, !TV) -> !TV
  chunk.yield tokens(%a) carries(%S) saved(%S) : !TV, !S, !S
}

// -----

!TK = tensor<?x?xf64, #fla.dims<tokens, K>>
!TV = tensor<?x?xf64, #fla.dims<tokens, V>>
!P = tensor<?x?xf64, #fla.dims<tokens, past>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

// A vector gate is a dyadic tree: one dot a level, both sides decayed to the middle of their block, so
// that no exponent is positive; a token's own term needs no gate.
// CHECK-LABEL: tile.kernel @vector_gate
// CHECK:       tile.dot %{{.+}}, %{{.+}} pairs(diagonal) {transpose_b}
// CHECK:       %[[D1:.+]] = tile.level_decay %[[G:.+]] 1
// CHECK:       %[[F1:.+]] = math.exp %[[D1]]
// CHECK-DAG:   %[[Q1:.+]] = arith.mulf %{{.+}}, %[[F1]]
// CHECK-DAG:   %[[K1:.+]] = arith.mulf %{{.+}}, %[[F1]]
// CHECK:       tile.dot %[[Q1]], %[[K1]] pairs(level) level 1 {transpose_b}
// CHECK:       tile.level_decay %[[G]] 2
// CHECK:       tile.dot {{.+}} pairs(level) level 2 {transpose_b}
// Four tokens have two levels.
// CHECK-NOT:   tile.level_decay
// CHECK-NOT:   arith.subf
chunk.program @vector_gate tokens(%q : !TK, %k : !TK, %v : !TV, %g : !TK) carries(%S : !S) -> (o, S, S) {
  %p = chunk.score %q, %k gate(%g) : (!TK, !TK, !TK) -> !P
  %a = chunk.apply %p, %v : (!P, !TV) -> !TV
  chunk.yield tokens(%a) carries(%S) saved(%S) : !TV, !S, !S
}

// -----

!TK = tensor<?x?xf64, #fla.dims<tokens, K>>
!TV = tensor<?x?xf64, #fla.dims<tokens, V>>
!P = tensor<?x?xf64, #fla.dims<tokens, past>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

// A solve is an inverse and a product; padding is selected away, never multiplied.
// CHECK-LABEL: tile.kernel @solve
// CHECK:       %[[VALID:.+]] = tile.valid
// CHECK:       %[[MASK:.+]] = tile.broadcast %[[VALID]] [0] : tensor<4xi1> -> tensor<4x16xi1>
// CHECK:       arith.select %[[MASK]], %{{.+}}, %{{.+}} : tensor<4x16xi1>, tensor<4x16xf32>
// CHECK:       %[[M:.+]] = tile.dot {{.+}} pairs(strict) {transpose_b}
// CHECK:       %[[T:.+]] = tile.inverse %[[M]]
// CHECK:       tile.dot %[[T]], %{{.+}} pairs(causal)
chunk.program @solve tokens(%b : !TK, %k : !TK, %v : !TV) carries(%S : !S) -> (o, S, S) {
  %x = chunk.pad %k, 0.0 : !TK
  %m = chunk.score %b, %x {strict} : (!TK, !TK) -> !P
  %y = chunk.solve scores(%m) rows(%v) : (!P, !TV) -> !TV
  chunk.yield tokens(%y) carries(%S) saved(%S) : !TV, !S, !S
}

// -----

!TV = tensor<?x?xf64, #fla.dims<tokens, V>>
!V = tensor<?xf64, #fla.dims<V>>

// A reverse program visits the last chunk first and stores a parameter's gradient once.
// CHECK-LABEL: tile.kernel @sum_backward(%d_o: !tile.buffer<token, 8xbf16>, %w: !tile.buffer<param, bf16>, %d_final_h: !tile.buffer<state, 8xf32>,
// CHECK-SAME:  out %d_initial_h: !tile.buffer<state, 8xf32>, out %d_w: !tile.buffer<state, {{.*}}f32>)
// CHECK:       %[[N:.+]] = tile.num_chunks
// CHECK:       scf.for %[[I:.+]] = %{{.+}} to %[[N]]
// CHECK:       %[[BEFORE:.+]] = arith.subi %[[N]], %{{.+}} : index
// CHECK:       %[[C:.+]] = arith.subi %[[BEFORE]], %[[I]] : index
// CHECK:       tile.load %d_o[%[[C]]]
// CHECK:       scf.yield
// CHECK:       tile.store %{{.+}}, %d_initial_h
// CHECK:       tile.store %{{.+}}, %d_w
chunk.program @sum_backward reverse tokens(%d_o : !TV) params(%w : f64 {param}) carries(%d_h : !V) -> (d_h, d_w) {
  %0 = fla.sum %d_o : !TV -> f64
  chunk.yield carries(%d_h) sums(%0) : !V, f64
}
