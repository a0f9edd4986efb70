// States that a block cannot hold are cut, by columns where that can be, else by rows.
// RUN: fla-opt %s --fla-distribute="largest=4096 dims=F:1024,V:64,K:256" | FileCheck %s
// RUN: fla-opt %s --fla-distribute="largest=65536 dims=F:1024,V:64,K:256" | FileCheck %s --check-prefix=FITS
// RUN: fla-opt %s --fla-distribute="largest=4096 dims=F:1024,V:64,K:256" --fla-kernelize="shared=32768 dims=F:1024,V:64,K:256" | FileCheck %s --check-prefix=KERNEL
// RUN: fla-opt %s --fla-distribute="largest=4096 dims=F:1024,V:64,K:256" --fla-differentiate --fla-kernelize="shared=32768 dims=F:1024,V:64,K:256" | FileCheck %s --check-prefix=BACK

!T = tensor<?xf64, #fla.dims<tokens>>
!TF = tensor<?x?xf64, #fla.dims<tokens, F>>
!TK = tensor<?x?xf64, #fla.dims<tokens, K>>
!TV = tensor<?x?xf64, #fla.dims<tokens, V>>
!P = tensor<?x?xf64, #fla.dims<tokens, past>>
!S = tensor<?x?xf64, #fla.dims<F, V>>
!Z = tensor<?xf64, #fla.dims<F>>
!KV = tensor<?x?xf64, #fla.dims<K, V>>
!M = tensor<?xf64, #fla.dims<K>>

// 16 columns are too many still, so S is cut by rows: each block reads with its own features.
// What it reads is a share of a sum; the quotient waits for the epilogue.
// CHECK-LABEL: chunk.program @normalized tokens(
// CHECK-SAME:  -> (normalized.[[A:[0-9]+]], normalized.[[B:[0-9]+]], S, z, S, z) {{.*}}split = "F"
// CHECK-NOT:   arith.divf
// CHECK-LABEL: chunk.program @normalized_epilogue tokens(
// CHECK:       arith.divf
// CHECK:       fla.scale
// FITS-NOT:    split
// FITS-NOT:    epilogue
// KERNEL-LABEL: tile.kernel @normalized(
// KERNEL-SAME:  !tile.buffer<state, 1024x64xf32>
// KERNEL-SAME:  out %normalized.{{[0-9]+}}: !tile.buffer<token, 16x64xf32>
// KERNEL-SAME:  blocks = 16
// KERNEL:       tile.load %q{{.*}} : <token, 1024xf32> -> tensor<{{[0-9]+}}x64xf32>
// KERNEL-LABEL: tile.kernel @normalized_epilogue(
// KERNEL-SAME:  over_chunks
// KERNEL:       tile.load {{.*}} : <token, 16x64xf32> -> tensor<[[C:[0-9]+]]x16x64xf32>
// KERNEL:       tile.reduce add {{.*}} axis 1 : tensor<[[C]]x16x64xf32> -> tensor<[[C]]x64xf32>
chunk.program @normalized tokens(%q : !TF, %k : !TF, %v : !TV) carries(%S : !S, %z : !Z) -> (o, S, z, S, z) {
  %p = chunk.score %q, %k : (!TF, !TF) -> !P
  %a = chunk.apply %p, %v : (!P, !TV) -> !TV
  %r = fla.contract %q, %S : !TF, !S -> !TV
  %s = arith.addf %a, %r : !TV
  %one = arith.constant 1.0 : f64
  %f = fla.broadcast %one : f64 -> !Z
  %keep = fla.broadcast %f : !Z -> !TF
  %prev, %next, %last = chunk.scan linear %z, %keep, %k : !Z, !TF
  %d = fla.contract %q, %next : !TF, !TF -> !T
  %ones = fla.broadcast %one : f64 -> !T
  %i = arith.divf %ones, %d : !T
  %o = fla.scale %s, %i : !TV, !T
  %w = fla.contract %k, %v : !TF, !TV -> !S
  %n = arith.addf %S, %w : !S
  chunk.yield tokens(%o) carries(%n, %last) saved(%S, %z) : !TV, !S, !Z, !S, !Z
}

// Columns need no shares and no other programs. A state without columns is one that
// all blocks hold alike; backwards each adds its share to the gradient, which comes
// from outside to the first of them.
// CHECK-LABEL: chunk.program @columns tokens(
// CHECK-SAME:  -> (o, m, S, m, S) {{.*}}split = "V"
// KERNEL-LABEL: tile.kernel @columns(
// KERNEL-SAME:  out %final_m: !tile.buffer<state, 256xf32>
// BACK-LABEL:   tile.kernel @columns_backward(
// BACK-SAME:    out %d_initial_m: !tile.buffer<state, 4x256xf32>
// BACK-SAME:    blocks = 4
// BACK:         %[[D:.+]] = tile.load %d_final_m : <state, 256xf32> -> tensor<256xf32>
// BACK:         %[[FIRST:.+]] = tile.first_block
// BACK:         arith.select %[[FIRST]], %[[D]]
chunk.program @columns tokens(%q : !TK, %k : !TK, %v : !TV) carries(%m : !M, %S : !KV) -> (o, m, S, m, S) {
  %sum = fla.sum %k : !TK -> !M
  %m1 = arith.addf %m, %sum : !M
  %p = chunk.score %q, %k : (!TK, !TK) -> !P
  %a = chunk.apply %p, %v : (!P, !TV) -> !TV
  %r = fla.contract %q, %S : !TK, !KV -> !TV
  %o = arith.addf %a, %r : !TV
  %w = fla.contract %k, %v : !TK, !TV -> !KV
  %n = arith.addf %S, %w : !KV
  chunk.yield tokens(%o) carries(%m1, %n) saved(%m, %S) : !TV, !M, !KV, !M, !KV
}
