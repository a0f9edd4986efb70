// Gated linear attention with one gate a head (simple GLA).
//
//   S_t = e^{g_t + gamma} S_{t-1} + k_t v_t^T
//   o_t = scale S_t^T q_t
//
// S. Yang, B. Wang, Y. Shen, R. Panda, Y. Kim: Gated Linear Attention
// Transformers with Hardware-Efficient Training. arXiv:2312.06635 (2023), with
// the gate reduced to a scalar as in T. Dao, A. Gu: Transformers are SSMs.
// arXiv:2405.21060 (2024).
// Class: scalar gate (g), constant gate (g_gamma) or both; no solve.

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

fla.recurrence @simple_gla state(%S : !S) (
    %q : !K, %k : !K, %v : !V, %g : f64 {max = 0.0, default = 0.0},
    %g_gamma : f64 {param, max = 0.0, default = 0.0}, %scale : f64 {value, default = 1.0}) {
  %gs = arith.addf %g, %g_gamma : f64
  %a  = math.exp %gs : f64
  %S1 = fla.gate %S, %a : !S, f64
  %S2 = fla.write %S1, %k, %v : !S, !K, !V
  %qs = fla.scale %q, %scale : !K, f64
  %o  = fla.read %S2, %qs : !S, !K -> !V
  fla.yield state(%S2) outputs(%o) : !S, !V
}
