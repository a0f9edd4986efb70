// A step without states treats every token by itself: one kernel over chunks, no loop,
// nothing carried or saved. Its parameters' gradients are sums over the tokens.
// RUN: fla-check %s --quick | FileCheck %s --check-prefix=LADDER
// LADDER: @rms_norm_gated
// LADDER-NOT: FAIL
// LADDER: target {{.*}}f16 {{.*}}pass

// RUN: fla-opt %s --fla-compile="dims=D:128 until=kernelize" | FileCheck %s
// CHECK: tile.kernel @rms_norm_gated(
// CHECK-NOT: scf.for
// CHECK-NOT: num_chunks
// CHECK: tile.chunk_id
// CHECK: tile.kernel @rms_norm_gated_backward(
// CHECK: scf.for

!D = tensor<?xf64, #fla.dims<D>>

fla.recurrence @rms_norm_gated state() (%x : !D, %g : !D, %w : !D {param}, %eps : f64 {value, default = 1.0e-5}) {
  %p  = arith.mulf %x, %x : !D
  %xx = fla.sum %p : !D -> f64
  %one = arith.constant 1.0 : f64
  %ones = fla.broadcast %one : f64 -> !D
  %n = fla.sum %ones : !D -> f64
  %m = arith.divf %xx, %n : f64
  %me = arith.addf %m, %eps : f64
  %r = math.rsqrt %me : f64
  %u = fla.scale %x, %r : !D, f64
  %y = arith.mulf %u, %w : !D
  %s = fla.sigmoid %g : !D
  %a = arith.mulf %g, %s : !D
  %o = arith.mulf %y, %a : !D
  fla.yield outputs(%o) : !D
}
