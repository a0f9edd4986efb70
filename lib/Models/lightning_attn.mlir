// Lightning attention (TransNormerLLM).
//
//   S_t = e^{gamma} S_{t-1} + k_t v_t^T
//   o_t = scale S_t^T q_t
//
// Z. Qin, W. Sun, D. Li, X. Shen, W. Sun, Y. Zhong: Lightning Attention-2: A Free
// Lunch for Handling Unlimited Sequence Lengths in Large Language Models.
// arXiv:2401.04658 (2024). Its layers set
// gamma = -(8 h / H) (1 - layer / layers) for head h of H.
// Class: one constant gate a head, no solve.

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

fla.recurrence @lightning_attn state(%S : !S) (
    %q : !K, %k : !K, %v : !V, %g_gamma : f64 {param, max = 0.0},
    %scale : f64 {value, default = 1.0}) {
  %a  = math.exp %g_gamma : f64
  %S1 = fla.gate %S, %a : !S, f64             // the same decay at every token
  %S2 = fla.write %S1, %k, %v : !S, !K, !V
  %qs = fla.scale %q, %scale : !K, f64
  %o  = fla.read %S2, %qs : !S, !K -> !V
  fla.yield state(%S2) outputs(%o) : !S, !V
}
