// Delta rule (DeltaNet).
//
//   S_t = S_{t-1} + beta_t k_t (v_t - S_{t-1}^T k_t)^T
//   o_t = scale S_t^T q_t
//
// I. Schlag, K. Irie, J. Schmidhuber: Linear Transformers Are Secretly Fast Weight
// Programmers. arXiv:2102.11174 (2021), section 4.2; S. Yang, B. Wang, Y. Zhang,
// Y. Shen, Y. Kim: Parallelizing Linear Transformers with the Delta Rule over
// Sequence Length. arXiv:2406.06484 (2024).
// Class: no gate, solve rank 1.

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

fla.recurrence @delta_rule state(%S : !S) (
    %q : !K, %k : !K {unit}, %v : !V, %beta : f64 {min = 0.0, max = 1.0},
    %scale : f64 {value, default = 1.0}) {
  %u  = fla.read %S, %k : !S, !K -> !V
  %d  = arith.subf %v, %u : !V
  %y  = fla.scale %d, %beta : !V, f64
  %S1 = fla.write %S, %k, %y : !S, !K, !V
  %qs = fla.scale %q, %scale : !K, f64
  %o  = fla.read %S1, %qs : !S, !K -> !V
  fla.yield state(%S1) outputs(%o) : !S, !V
}
