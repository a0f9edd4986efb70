// States that start at -inf, are overwritten, or are accumulated by logaddexp:
// the interpreters take no difference of infinities.
// RUN: fla-check %s --quick --until=kernelize | FileCheck %s
// CHECK-NOT: FAIL
// CHECK: kernelize {{ *}}backward {{ *}}recurrent {{.*}} pass

!D = tensor<?xf64, #fla.dims<D>>

fla.recurrence @latest state(%z : !D {init = 0xFFF0000000000000 : f64}, %prev : !D) (%x : !D, %a : !D {max = 0.0}) {
  %zd = arith.addf %z, %a : !D
  %z1 = fla.logaddexp %zd, %x : !D
  %e  = arith.subf %x, %z1 : !D
  %w  = math.exp %e : !D
  %o  = arith.mulf %w, %prev : !D
  fla.yield state(%z1, %x) outputs(%o) : !D, !D, !D
}
