// Gated DeltaProduct with n = 2 delta-rule steps a token.
//
//   S_{t,0} = e^{g_t} S_{t-1}
//   S_{t,j} = S_{t,j-1} + beta_{t,j} k_{t,j} (v_{t,j} - S_{t,j-1}^T k_{t,j})^T,   j = 1..n
//   S_t = S_{t,n},   o_t = scale S_t^T q_t
//
// J. Siems, T. Carstensen, A. Zela, F. Hutter, M. Pontil, R. Grazzi: DeltaProduct:
// Improving State-Tracking in Linear RNNs via Householder Products.
// arXiv:2502.10297 (2025). k, v and beta carry the n sub-steps of a
// token on their first axis; beta up to 2 allows reflections.
// Class: scalar gate, solve rank n, reads after the decay.

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>
!n = tensor<?xf64, #fla.dims<n>>
!nK = tensor<?x?xf64, #fla.dims<n, K>>
!nV = tensor<?x?xf64, #fla.dims<n, V>>

fla.recurrence @gated_delta_product state(%S : !S) (
    %q : !K, %k : !nK {unit}, %v : !nV, %g : f64 {max = 0.0}, %beta : !n {min = 0.0, max = 2.0},
    %scale : f64 {value, default = 1.0}) {
  %a  = math.exp %g : f64
  %S0 = fla.gate %S, %a : !S, f64             // once a token
  %k0 = fla.index %k[0] : !nK -> !K
  %v0 = fla.index %v[0] : !nV -> !V
  %b0 = fla.index %beta[0] : !n -> f64
  %u0 = fla.read %S0, %k0 : !S, !K -> !V
  %d0 = arith.subf %v0, %u0 : !V
  %y0 = fla.scale %d0, %b0 : !V, f64
  %S1 = fla.write %S0, %k0, %y0 : !S, !K, !V
  %k1 = fla.index %k[1] : !nK -> !K
  %v1 = fla.index %v[1] : !nV -> !V
  %b1 = fla.index %beta[1] : !n -> f64
  %u1 = fla.read %S1, %k1 : !S, !K -> !V
  %d1 = arith.subf %v1, %u1 : !V
  %y1 = fla.scale %d1, %b1 : !V, f64
  %S2 = fla.write %S1, %k1, %y1 : !S, !K, !V
  %qs = fla.scale %q, %scale : !K, f64
  %o  = fla.read %S2, %qs : !S, !K -> !V
  fla.yield state(%S2) outputs(%o) : !S, !V
}
