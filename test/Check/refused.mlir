// A step that the compiler refuses: the row says why, and the exit status is 1.
// RUN: not fla-check %s --quick --until=chunk | FileCheck %s
// RUN: not fla-check %s --quick --until=normalize --json | FileCheck %s --check-prefix=JSON

// CHECK: define {{.*}} pass
// CHECK: normalize {{.*}} FAIL  state 'S' cannot be chunked: {{.*}}'math.tanh'
// CHECK-NOT: chunk {{ *}}forward
// JSON: "failure":"{{.+}}"{{.*}}"pass":false

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

// What is written depends on a nonlinear function of what is read.
fla.recurrence @squashed state(%S : !S) (%k : !K {unit}, %v : !V) {
  %u  = fla.read %S, %k : !S, !K -> !V
  %t  = math.tanh %u : !V
  %y  = arith.subf %v, %t : !V
  %S1 = fla.write %S, %k, %y : !S, !K, !V
  fla.yield state(%S1) outputs(%u) : !S, !V
}
