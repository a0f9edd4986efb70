// Identity-plus-low-rank delta rule.
//
//   S_t = (I + b_t a_t^T) S_{t-1} + k_t v_t^T
//   o_t = scale S_t^T q_t
//
// S. Yang, B. Wang, Y. Zhang, Y. Shen, Y. Kim: Parallelizing Linear Transformers
// with the Delta Rule over Sequence Length. arXiv:2406.06484 (2024), with a and
// b free in its transition I + b a^T (the delta rule: a = k, b = -beta k).
// Class: no gate, solve rank 1 (two rows).
// The interval of b is the one that checks draw from: sequences of
// independent a and b stay bounded in it. Nothing relies on it.

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

fla.recurrence @iplr_delta_rule state(%S : !S) (
    %q : !K, %k : !K, %v : !V, %a : !K {unit}, %b : !K {min = -0.25, max = 0.25},
    %scale : f64 {value, default = 1.0}) {
  %y  = fla.read %S, %a : !S, !K -> !V        // of the incoming state
  %S2 = fla.write %S, %b, %y : !S, !K, !V
  %S3 = fla.write %S2, %k, %v : !S, !K, !V
  %qs = fla.scale %q, %scale : !K, f64
  %o  = fla.read %S3, %qs : !S, !K -> !V
  fla.yield state(%S3) outputs(%o) : !S, !V
}
