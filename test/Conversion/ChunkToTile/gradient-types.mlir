// For a GPU a gradient is stored as its input is, where one kernel gives all of it. Pieces (of v, which two programs read;
// their names end in the program's) and a block's shares (of k) are added first, so they stay f32. On a CPU all do.
// RUN: fla-opt %s --fla-compile="dims=K:16,V:16 dtype=bf16 grad=true until=kernelize blocks=2 target=cuda:sm_90" | FileCheck %s
// RUN: fla-opt %s --fla-compile="dims=K:16,V:16 dtype=bf16 grad=true until=kernelize" | FileCheck %s --check-prefix=CPU

// CHECK-LABEL: tile.kernel @normed_backward_after(
// CHECK-SAME:  out %d_k: !tile.buffer<token, 2x16xf32>, out %d_v{{.*}}normed: !tile.buffer<token, 16xf32>
// CHECK-LABEL: tile.kernel @normed_prologue_backward(
// CHECK-SAME:  out %d_q: !tile.buffer<token, 16xbf16>, out %d_v{{.*}}normed_prologue: !tile.buffer<token, 16xf32>, out %d_beta: !tile.buffer<token, bf16>
// CPU-LABEL:   tile.kernel @normed_backward(
// CPU-SAME:    %d_o: !tile.buffer<token, 16xbf16>
// CPU-SAME:    out %d_q: !tile.buffer<token, 16xf32>
!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>
fla.recurrence @normed state(%S : !S) (%q : !K, %k : !K, %v : !V, %beta : f64) {
  %d = fla.sum %v : !V -> f64
  %w = arith.mulf %d, %beta : f64
  %y = fla.scale %v, %w : !V, f64
  %S1 = fla.write %S, %k, %y : !S, !K, !V
  %o = fla.read %S1, %q : !S, !K -> !V
  %e = fla.scale %o, %beta : !V, f64
  fla.yield state(%S1) outputs(%e) : !S, !V
}
