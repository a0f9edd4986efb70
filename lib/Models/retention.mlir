// Retention (RetNet).
//
//   S_t = e^{gamma} S_{t-1} + k_t v_t^T
//   o_t = scale S_t^T q_t
//
// Y. Sun, L. Dong, S. Huang, S. Ma, Y. Xia, J. Xue, J. Wang, F. Wei: Retentive
// Network: A Successor to Transformer for Large Language Models.
// arXiv:2307.08621 (2023), section 2.1, the recurrent representation. The paper
// sets gamma = log(1 - 2^{-5-h}) for head h; rotary embedding is the caller's.
// Class: one constant gate a head, no solve.

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

fla.recurrence @retention state(%S : !S) (
    %q : !K, %k : !K, %v : !V, %g_gamma : f64 {param, max = 0.0},
    %scale : f64 {value, default = 1.0}) {
  %a  = math.exp %g_gamma : f64
  %S1 = fla.gate %S, %a : !S, f64             // the same decay at every token
  %S2 = fla.write %S1, %k, %v : !S, !K, !V
  %qs = fla.scale %q, %scale : !K, f64
  %o  = fla.read %S2, %qs : !S, !K -> !V
  fla.yield state(%S2) outputs(%o) : !S, !V
}
