// Kimi delta attention with a gate activation that is bounded below.
//
//   g'  = lower_bound sigmoid(e^{A_log} (g_t + dt_bias))   between lower_bound and 0
//   S'  = Diag(e^{g'}) S_{t-1}
//   S_t = S' + beta_t k_t (v_t - S'^T k_t)^T
//   o_t = scale S_t^T q_t
//
// Kimi Team: Kimi Linear: An Expressive, Efficient Attention Architecture.
// arXiv:2510.26692 (2025), for the recurrence; the bounded activation
// is that of its public implementations. Here g is any real number.
// Class: K gate, solve rank 1, read after the decay.

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

fla.recurrence @kda_lower_bound state(%S : !S) (
    %q : !K, %k : !K {unit}, %v : !V, %g : !K, %beta : f64 {min = 0.0, max = 1.0},
    %A_log : f64 {param}, %dt_bias : !K {param, default = 0.0},
    %scale : f64 {value, default = 1.0}, %lower_bound : f64 {value, max = 0.0, default = -5.0}) {
  %x  = arith.addf %g, %dt_bias : !K
  %A  = math.exp %A_log : f64
  %xA = fla.scale %x, %A : !K, f64
  %sg = fla.sigmoid %xA : !K
  %gl = fla.scale %sg, %lower_bound : !K, f64
  %a  = math.exp %gl : !K
  %S1 = fla.gate %S, %a : !S, !K
  %u  = fla.read %S1, %k : !S, !K -> !V
  %d  = arith.subf %v, %u : !V
  %y  = fla.scale %d, %beta : !V, f64
  %S2 = fla.write %S1, %k, %y : !S, !K, !V
  %qs = fla.scale %q, %scale : !K, f64
  %o  = fla.read %S2, %qs : !S, !K -> !V
  fla.yield state(%S2) outputs(%o) : !S, !V
}
