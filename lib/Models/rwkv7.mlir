// RWKV-7 (Goose): the generalised delta rule.
//
//   S_t = (Diag(e^{w_t}) + b_t a_t^T) S_{t-1} + k_t v_t^T
//   o_t = scale S_t^T r_t
//
// B. Peng et al.: RWKV-7 "Goose" with Expressive Dynamic State Evolution.
// arXiv:2503.14456 (2025). The model passes a = -kappa and
// b = kappa * in-context rate: rwkv7_kk takes those two instead.
// Class: K gate, solve rank 1 (two rows), read before the decay.
// The interval of b is the one that checks draw from: sequences of
// independent a and b stay bounded in it. Nothing relies on it.

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

fla.recurrence @rwkv7 state(%S : !S) (
    %r : !K, %w : !K {max = 0.0}, %k : !K, %v : !V,
    %a : !K {unit}, %b : !K {min = -0.25, max = 0.25},
    %scale : f64 {value, default = 1.0}) {
  %y  = fla.read %S, %a : !S, !K -> !V        // of the incoming state
  %e  = math.exp %w : !K
  %S1 = fla.gate %S, %e : !S, !K
  %S2 = fla.write %S1, %b, %y : !S, !K, !V
  %S3 = fla.write %S2, %k, %v : !S, !K, !V
  %qs = fla.scale %r, %scale : !K, f64
  %o  = fla.read %S3, %qs : !S, !K -> !V
  fla.yield state(%S3) outputs(%o) : !S, !V
}
