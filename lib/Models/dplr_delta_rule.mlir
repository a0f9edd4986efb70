// Diagonal-plus-low-rank delta rule.
//
//   S_t = (Diag(e^{gk_t}) + b_t a_t^T) S_{t-1} + k_t v_t^T
//   o_t = scale S_t^T q_t
//
// B. Peng et al.: RWKV-7 "Goose" with Expressive Dynamic State Evolution.
// arXiv:2503.14456 (2025): the transition of the generalised delta
// rule with a and b free.
// Class: K gate, solve rank 1 (two rows), read before the decay.
// The interval of b is the one that checks draw from: sequences of
// independent a and b stay bounded in it. Nothing relies on it.

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

fla.recurrence @dplr_delta_rule state(%S : !S) (
    %q : !K, %k : !K, %v : !V, %a : !K {unit}, %b : !K {min = -0.25, max = 0.25},
    %gk : !K {max = 0.0},
    %scale : f64 {value, default = 1.0}) {
  %y  = fla.read %S, %a : !S, !K -> !V        // of the incoming state
  %e  = math.exp %gk : !K
  %S1 = fla.gate %S, %e : !S, !K
  %S2 = fla.write %S1, %b, %y : !S, !K, !V
  %S3 = fla.write %S2, %k, %v : !S, !K, !V
  %qs = fla.scale %q, %scale : !K, f64
  %o  = fla.read %S3, %qs : !S, !K -> !V
  fla.yield state(%S3) outputs(%o) : !S, !V
}
