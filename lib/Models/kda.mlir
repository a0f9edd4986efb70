// Kimi delta attention (KDA): the delta rule with a gate a key channel.
//
//   S'  = Diag(e^{g_t}) S_{t-1}
//   S_t = S' + beta_t k_t (v_t - S'^T k_t)^T
//   o_t = scale S_t^T q_t
//
// Kimi Team: Kimi Linear: An Expressive, Efficient Attention Architecture.
// arXiv:2510.26692 (2025), section 3, equation 1.
// Class: K gate, solve rank 1, read after the decay.

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

fla.recurrence @kda state(%S : !S) (
    %q : !K, %k : !K {unit}, %v : !V, %g : !K {max = 0.0},
    %beta : f64 {min = 0.0, max = 1.0}, %scale : f64 {value, default = 1.0}) {
  %a  = math.exp %g : !K
  %S1 = fla.gate %S, %a : !S, !K
  %u  = fla.read %S1, %k : !S, !K -> !V
  %d  = arith.subf %v, %u : !V
  %y  = fla.scale %d, %beta : !V, f64
  %S2 = fla.write %S1, %k, %y : !S, !K, !V
  %qs = fla.scale %q, %scale : !K, f64
  %o  = fla.read %S2, %qs : !S, !K -> !V
  fla.yield state(%S2) outputs(%o) : !S, !V
}
