// Inputs that a caller leaves out take their defaults, and what that makes trivial disappears.
// RUN: fla-opt %s --fla-specialize="absent=g" | FileCheck %s
// RUN: fla-opt %s --fla-specialize="absent=g,scale" | FileCheck %s --check-prefix=BOTH
// RUN: fla-opt %s --fla-specialize | FileCheck %s --check-prefix=NONE
// RUN: fla-opt %s --fla-specialize="absent=g" --fla-normalize-recurrence | FileCheck %s --check-prefix=CLASS

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

// A gate of e^0 is no gate: the argument goes, and with it the decay.
// CHECK-LABEL: fla.recurrence @simple
// CHECK-SAME:  (%q: {{.+}}, %k: {{.+}}, %v: {{[^%]+}}, %scale: f64
// CHECK-NOT:   fla.gate
// CHECK:       %[[S:.+]] = fla.write %S, %k, %v
// CHECK:       %[[Q:.+]] = fla.scale %q, %scale
// CHECK:       fla.read %[[S]], %[[Q]]

// So does a factor of 1.
// BOTH-LABEL: fla.recurrence @simple
// BOTH-SAME:  %v: tensor<?xf64, #fla.dims<V>>) {
// BOTH-NOT:   fla.scale
// BOTH:       fla.read %{{.+}}, %q

// Nothing absent, nothing changed.
// NONE-LABEL: fla.recurrence @simple
// NONE:       fla.gate %S

// The class follows from the inputs that are there.
// CLASS: class = ["S: matrix state, no gate
fla.recurrence @simple state(%S : !S) (%q : !K, %k : !K, %v : !V, %g : f64 {max = 0.0, default = 0.0}, %scale : f64 {value, default = 1.0}) {
  %a = math.exp %g : f64
  %S1 = fla.gate %S, %a : !S, f64
  %S2 = fla.write %S1, %k, %v : !S, !K, !V
  %qs = fla.scale %q, %scale : !K, f64
  %o = fla.read %S2, %qs : !S, !K -> !V
  fla.yield state(%S2) outputs(%o) : !S, !V
}
