// Kimi delta attention with its gate activation.
//
//   g'  = -e^{A_log} softplus(g_t + dt_bias)           natural log, not positive
//   S'  = Diag(e^{g'}) S_{t-1}
//   S_t = S' + beta_t k_t (v_t - S'^T k_t)^T
//   o_t = scale S_t^T q_t
//
// Kimi Team: Kimi Linear: An Expressive, Efficient Attention Architecture.
// arXiv:2510.26692 (2025), with the gate of its layer; here g is any real number.
// Class: K gate, solve rank 1, read after the decay.

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

fla.recurrence @kda_gate state(%S : !S) (
    %q : !K, %k : !K {unit}, %v : !V, %g : !K, %beta : f64 {min = 0.0, max = 1.0},
    %A_log : f64 {param}, %dt_bias : !K {param, default = 0.0},
    %scale : f64 {value, default = 1.0}) {
  %x  = arith.addf %g, %dt_bias : !K
  %sp = fla.softplus %x : !K
  %A  = math.exp %A_log : f64
  %nA = arith.negf %A : f64
  %gl = fla.scale %sp, %nA : !K, f64
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
