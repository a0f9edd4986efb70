// Definitions, or what an earlier run of the phases made of them, become LLVM IR.
// RUN: fla-translate --fla-to-llvmir %s --dims=K:8,V:8 --chunk=8 --grad=false | FileCheck %s
// RUN: fla-opt %s --fla-compile="until=kernelize dims=K:8,V:8 chunk=8 grad=false" | fla-translate --fla-to-llvmir | FileCheck %s
// RUN: fla-opt %s --fla-compile="until=normalize" | fla-translate --fla-to-llvmir --form=recurrent | FileCheck %s --check-prefix=BOTH

// CHECK: target triple =
// CHECK: define void @additive(ptr {{.*}}, ptr {{.*}}, ptr {{.*}})
// CHECK-NOT: @additive_backward

// BOTH-DAG: define void @additive(
// BOTH-DAG: define void @additive_backward(

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>
fla.recurrence @additive state(%S : !S) (%q : !K, %k : !K, %v : !V) {
  %S1 = fla.write %S, %k, %v : !S, !K, !V
  %o = fla.read %S1, %q : !S, !K -> !V
  fla.yield state(%S1) outputs(%o) : !S, !V
}
