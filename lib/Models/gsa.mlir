// Gated slot attention (GSA).
//
//   Hk_t = Hk_{t-1} Diag(e^{g_t}) + k_t s_t^T       keys of M slots,   K x M
//   Hv_t = Diag(e^{g_t}) Hv_{t-1} + s_t v_t^T       values of M slots, M x V
//   o_t  = Hv_t^T softmax(scale Hk_t^T q_t)
//
// Y. Zhang, S. Yang, R. Zhu, Y. Zhang, L. Cui, Y. Wang, B. Wang, F. Shi,
// B. Wang, W. Bi, P. Zhou, G. Fu: Gated Slot Attention for Efficient
// Linear-Time Sequence Modeling. arXiv:2409.07146 (2024), where
// s_t = 1 - e^{g_t}; here s is an argument.
// Class: a chain of two states, V gate then K gate, no solve.

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!M = tensor<?xf64, #fla.dims<M>>
!KM = tensor<?x?xf64, #fla.dims<K, M>>
!MV = tensor<?x?xf64, #fla.dims<M, V>>

fla.recurrence @gsa state(%Hk : !KM, %Hv : !MV) (
    %q : !K, %k : !K, %v : !V, %s : !M, %g : !M {max = 0.0, default = 0.0},
    %scale : f64 {value, default = 1.0}) {
  %a   = math.exp %g : !M
  %Hk1 = fla.gate %Hk, %a : !KM, !M
  %Hk2 = fla.write %Hk1, %k, %s : !KM, !K, !M
  %qs  = fla.scale %q, %scale : !K, f64
  %l   = fla.read %Hk2, %qs : !KM, !K -> !M   // one score a slot
  %p   = fla.softmax %l : !M
  %Hv1 = fla.gate %Hv, %a : !MV, !M
  %Hv2 = fla.write %Hv1, %s, %v : !MV, !M, !V
  %o   = fla.read %Hv2, %p : !MV, !M -> !V
  fla.yield state(%Hk2, %Hv2) outputs(%o) : !KM, !MV, !V
}
