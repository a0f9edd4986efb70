// LightNet: keys normalised by an exponential sum over the past.
//
//   z_t = logaddexp(z_{t-1}, k_t)                       z_{-1} = -inf
//   S_t = Diag(e^{z_{t-1} - z_t}) S_{t-1} + e^{k_t - z_t} v_t^T
//   o_t = scale S_t^T q_t
//
// Z. Qin, Y. Mao, X. Shen, D. Li, J. Zhang, Y. Dai, Y. Zhong: You Only Scan Once:
// Efficient Multi-dimension Sequential Modeling with LightNet. arXiv:2405.21022
// (2024), the additive recurrence.
// Class: a logaddexp state, then K gate, no solve.

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

fla.recurrence @lightnet state(%S : !S, %z : !K {init = 0xFFF0000000000000 : f64}) (
    %q : !K, %k : !K, %v : !V, %scale : f64 {value, default = 1.0}) {
  %z1 = fla.logaddexp %z, %k : !K
  %kz = arith.subf %k, %z1 : !K
  %p  = math.exp %kz : !K
  %g  = arith.subf %z, %z1 : !K               // -inf at the first token: a reset
  %a  = math.exp %g : !K
  %S1 = fla.gate %S, %a : !S, !K
  %S2 = fla.write %S1, %p, %v : !S, !K, !V
  %qs = fla.scale %q, %scale : !K, f64
  %o  = fla.read %S2, %qs : !S, !K -> !V
  fla.yield state(%S2, %z1) outputs(%o) : !S, !K, !V
}
