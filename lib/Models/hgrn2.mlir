// HGRN2: gated linear attention whose keys are the complement of the gate.
//
//   S_t = Diag(e^{g_t}) S_{t-1} + (1 - e^{g_t}) v_t^T
//   o_t = scale S_t^T q_t
//
// Z. Qin, S. Yang, W. Sun, X. Shen, D. Li, W. Sun, Y. Zhong: HGRN2: Gated Linear
// RNNs with State Expansion. arXiv:2404.07904 (2024).
// Class: K gate, no solve.

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

fla.recurrence @hgrn2 state(%S : !S) (
    %q : !K, %v : !V, %g : !K {max = 0.0}, %scale : f64 {value, default = 1.0}) {
  %a  = math.exp %g : !K
  %S1 = fla.gate %S, %a : !S, !K
  %e  = math.expm1 %g : !K
  %k  = arith.negf %e : !K                    // 1 - e^g, exact for weak gates
  %S2 = fla.write %S1, %k, %v : !S, !K, !V
  %qs = fla.scale %q, %scale : !K, f64
  %o  = fla.read %S2, %qs : !S, !K -> !V
  fla.yield state(%S2) outputs(%o) : !S, !V
}
