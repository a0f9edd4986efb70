// Attention with bounded-memory control (ABC).
//
//   z_t  = logaddexp(z_{t-1}, s_t)                      z_{-1} = -inf
//   p_t  = e^{s_t - z_t}                                this token's share of each slot
//   Hk_t = Hk_{t-1} Diag(e^{z_{t-1} - z_t}) + k_t p_t^T
//   Hv_t = Diag(e^{z_{t-1} - z_t}) Hv_{t-1} + p_t v_t^T
//   o_t  = Hv_t^T softmax(scale Hk_t^T q_t)
//
// H. Peng, J. Kasai, N. Pappas, D. Yogatama, Z. Wu, L. Kong, R. Schwartz,
// N. A. Smith: ABC: Attention with Bounded-memory Control. arXiv:2110.02488
// (2021), with control that is a softmax over the past.
// Class: a logaddexp state, then a chain of two states, V gate and K gate, no solve.

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!M = tensor<?xf64, #fla.dims<M>>
!KM = tensor<?x?xf64, #fla.dims<K, M>>
!MV = tensor<?x?xf64, #fla.dims<M, V>>

fla.recurrence @abc state(%Hk : !KM, %Hv : !MV, %z : !M {init = 0xFFF0000000000000 : f64}) (
    %q : !K, %k : !K, %v : !V, %s : !M, %scale : f64 {value, default = 1.0}) {
  %z1  = fla.logaddexp %z, %s : !M
  %sz  = arith.subf %s, %z1 : !M
  %p   = math.exp %sz : !M
  %g   = arith.subf %z, %z1 : !M              // -inf at the first token: a reset
  %a   = math.exp %g : !M
  %Hk1 = fla.gate %Hk, %a : !KM, !M
  %Hk2 = fla.write %Hk1, %k, %p : !KM, !K, !M
  %qs  = fla.scale %q, %scale : !K, f64
  %l   = fla.read %Hk2, %qs : !KM, !K -> !M   // one score a slot
  %w   = fla.softmax %l : !M
  %Hv1 = fla.gate %Hv, %a : !MV, !M
  %Hv2 = fla.write %Hv1, %p, %v : !MV, !M, !V
  %o   = fla.read %Hv2, %w : !MV, !M -> !V
  fla.yield state(%Hk2, %Hv2, %z1) outputs(%o) : !KM, !MV, !M, !V
}
