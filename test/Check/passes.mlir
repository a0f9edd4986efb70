// The ladder of a definition: one row a phase and direction, all of them pass.
// RUN: fla-check %s --quick --until=kernelize | FileCheck %s
// RUN: fla-check %s --quick --until=normalize --json | FileCheck %s --check-prefix=JSON
// RUN: fla-check %s --quick --until=normalize --dims=K:3,V:4 --seed=7 | FileCheck %s --check-prefix=NORMALIZE
// The interpreter runs the kernels of a GPU as well; there they end.
// RUN: fla-check %s --quick --target=cuda:sm_90 | FileCheck %s
// RUN: fla-check %s --quick --until=kernelize --forms=recurrent | FileCheck %s --check-prefix=RECURRENT

// CHECK:      @delta
// CHECK-NEXT: phase
// CHECK-NEXT: define {{ *}}backward {{.*}} pass
// CHECK-NEXT: normalize {{ *}}forward {{.*}} pass
// CHECK-NEXT: normalize {{ *}}backward {{.*}} pass
// CHECK-NEXT: chunk {{ *}}forward {{.*}} pass
// CHECK-NEXT: differentiate {{ *}}backward {{.*}} pass
// CHECK-NEXT: kernelize {{ *}}forward {{ *}}chunk {{.*}} pass
// CHECK-NEXT: kernelize {{ *}}backward {{ *}}chunk {{.*}} pass
// CHECK-NEXT: kernelize {{ *}}forward {{ *}}recurrent {{.*}} pass
// CHECK-NEXT: kernelize {{ *}}backward {{ *}}recurrent {{.*}} pass
// CHECK-NOT:  FAIL

// JSON: "direction":"backward"{{.*}}"pass":true,"phase":"define"
// JSON-NOT: "pass":false

// NORMALIZE: normalize {{.*}} pass
// NORMALIZE-NOT: chunk

// RECURRENT-NOT: kernelize {{.*}} chunk
// RECURRENT: kernelize {{ *}}backward {{ *}}recurrent {{.*}} pass

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

fla.recurrence @delta state(%S : !S) (%q : !K, %k : !K {unit}, %v : !V, %g : f64 {max = 0.0}, %w : f64 {param}) {
  %a  = math.exp %g : f64
  %S1 = fla.gate %S, %a : !S, f64
  %u  = fla.read %S1, %k : !S, !K -> !V
  %d  = arith.subf %v, %u : !V
  %y  = fla.scale %d, %w : !V, f64
  %S2 = fla.write %S1, %k, %y : !S, !K, !V
  %o  = fla.read %S2, %q : !S, !K -> !V
  fla.yield state(%S2) outputs(%o) : !S, !V
}
