// Gated delta rule with a gate a head, a gate a key channel and a gate a value
// channel, each of which may be left out.
//
//   S'  = e^{g_t} Diag(e^{gk_t}) S_{t-1} Diag(e^{gv_t})
//   S_t = S' + beta_t k_t (v_t - S'^T k_t)^T
//   o_t = scale S_t^T q_t
//
// S. Yang, J. Kautz, A. Hatamizadeh: Gated Delta Networks: Improving Mamba2
// with Delta Rule. arXiv:2412.06464 (2024), section 3.1, and Kimi Team: Kimi
// Linear. arXiv:2510.26692 (2025), for the key channels.
// Class: scalar, K, V or two-sided gate, solve rank 1, read after the decay.

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

fla.recurrence @gated_delta_rule_gates state(%S : !S) (
    %q : !K, %k : !K {unit}, %v : !V, %g : f64 {max = 0.0, default = 0.0},
    %gk : !K {max = 0.0, default = 0.0}, %gv : !V {max = 0.0, default = 0.0},
    %beta : f64 {min = 0.0, max = 1.0}, %scale : f64 {value, default = 1.0}) {
  %a  = math.exp %g : f64
  %ak = math.exp %gk : !K
  %av = math.exp %gv : !V
  %S1 = fla.gate %S, %a : !S, f64
  %S2 = fla.gate %S1, %ak : !S, !K
  %S3 = fla.gate %S2, %av : !S, !V
  %u  = fla.read %S3, %k : !S, !K -> !V
  %d  = arith.subf %v, %u : !V
  %y  = fla.scale %d, %beta : !V, f64
  %S4 = fla.write %S3, %k, %y : !S, !K, !V
  %qs = fla.scale %q, %scale : !K, f64
  %o  = fla.read %S4, %qs : !S, !K -> !V
  fla.yield state(%S4) outputs(%o) : !S, !V
}
