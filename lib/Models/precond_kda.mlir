// Preconditioned Kimi delta attention: the written key is scaled by the
// curvature's diagonal.
//
//   A_t = e^{g_atk,t} A_{t-1} + beta_atk,t k_t * k_t
//   M_t = x^{-z / (1 + |z|)},   z = log(A_t + eps) - log_atk_scale
//   S'  = Diag(e^{g_t}) S_{t-1}
//   S_t = S' + beta_t (k_t * M_t) (v_t - S'^T k_t)^T
//   o_t = scale S_t^T q_t
//
// N. Tumma, N. Loo, D. Rus: Preconditioned DeltaNet: Curvature-aware Sequence
// Modeling for Linear Recurrences. arXiv:2604.21100 (2026).
// Class: elementwise state, then K gate, solve rank 1, read after the decay.

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

fla.recurrence @precond_kda state(%S : !S, %A : !K) (
    %q : !K, %k : !K {unit}, %v : !V, %g : !K {max = 0.0}, %g_atk : f64 {max = 0.0},
    %beta_atk : f64 {min = 0.0, max = 1.0}, %beta : f64 {min = 0.0, max = 1.0},
    %scale : f64 {value, default = 1.0}, %x : f64 {value, min = 1.0, default = 1.5},
    %eps : f64 {value, min = 0.0, default = 1.0e-6}, %log_atk_scale : f64 {param, default = -0.2}) {
  // A: a decaying mean of the squared keys, the curvature's diagonal.
  %ga = math.exp %g_atk : f64
  %A0 = fla.gate %A, %ga : !K, f64
  %k2 = arith.mulf %k, %k : !K
  %bk = fla.scale %k2, %beta_atk : !K, f64
  %A1 = arith.addf %A0, %bk : !K

  // M = x^(-squash(log(A + eps) - log_atk_scale)), between 1/x and x.
  %ev = fla.broadcast %eps : f64 -> !K
  %Ae = arith.addf %A1, %ev : !K
  %l  = math.log %Ae : !K
  %c  = fla.broadcast %log_atk_scale : f64 -> !K
  %z  = arith.subf %l, %c : !K
  %az = math.absf %z : !K
  %one = arith.constant 1.0 : f64
  %ones = fla.broadcast %one : f64 -> !K
  %dn = arith.addf %ones, %az : !K
  %sq = arith.divf %z, %dn : !K
  %lx = math.log %x : f64
  %nx = arith.negf %lx : f64
  %e  = fla.scale %sq, %nx : !K, f64
  %M  = math.exp %e : !K
  %kM = arith.mulf %k, %M : !K

  %a  = math.exp %g : !K
  %S1 = fla.gate %S, %a : !S, !K
  %u  = fla.read %S1, %k : !S, !K -> !V
  %d  = arith.subf %v, %u : !V
  %y  = fla.scale %d, %beta : !V, f64
  %S2 = fla.write %S1, %kM, %y : !S, !K, !V
  %qs = fla.scale %q, %scale : !K, f64
  %o  = fla.read %S2, %qs : !S, !K -> !V
  fla.yield state(%S2, %A1) outputs(%o) : !S, !K, !V
}
