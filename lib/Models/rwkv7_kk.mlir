// RWKV-7 (Goose) with its removal key kk and in-context rate a.
//
//   S_t = (Diag(e^{w_t}) - (kk_t * a_t) kk_t^T) S_{t-1} + k_t v_t^T
//   o_t = scale S_t^T r_t
//
// B. Peng et al.: RWKV-7 "Goose" with Expressive Dynamic State Evolution.
// arXiv:2503.14456 (2025).
// Class: K gate, solve rank 1 (two rows), read before the decay.

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

fla.recurrence @rwkv7_kk state(%S : !S) (
    %r : !K, %w : !K {max = 0.0}, %k : !K, %v : !V,
    %kk : !K {unit}, %a : !K {min = 0.0, max = 1.0}, %scale : f64 {value, default = 1.0}) {
  %u  = fla.read %S, %kk : !S, !K -> !V       // of the incoming state
  %y  = arith.negf %u : !V
  %b  = arith.mulf %kk, %a : !K
  %e  = math.exp %w : !K
  %S1 = fla.gate %S, %e : !S, !K
  %S2 = fla.write %S1, %b, %y : !S, !K, !V
  %S3 = fla.write %S2, %k, %v : !S, !K, !V
  %rs = fla.scale %r, %scale : !K, f64
  %o  = fla.read %S3, %rs : !S, !K -> !V
  fla.yield state(%S3) outputs(%o) : !S, !V
}
