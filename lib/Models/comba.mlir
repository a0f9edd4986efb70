// Comba: a scalar gate and feedback through a second key p, read before the decay.
//
//   S_t = e^{g_t} S_{t-1} + beta_t k_t (v_t - S_{t-1}^T p_t)^T
//   o_t = scale S_t^T q_t
//
// J. Hu, Y. Pan, J. Du, D. Lan, X. Tang, Q. Wen, Y. Liang, W. Sun: Comba: Improving
// Bilinear RNNs with Closed-loop Control. arXiv:2506.02475 (2025). The
// model takes p = b k with 0 <= b <= 1 and corrects the query, q - d p, beforehand.
// Class: scalar gate, solve rank 1, read before the decay.
// The interval of p is the one that checks draw from: sequences of independent k
// and p stay bounded in it. Nothing relies on it.

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

fla.recurrence @comba state(%S : !S) (
    %q : !K, %k : !K {unit}, %v : !V, %p : !K {min = -0.25, max = 0.25},
    %g : f64 {max = 0.0}, %beta : f64 {min = 0.0, max = 1.0}, %scale : f64 {value, default = 1.0}) {
  %u  = fla.read %S, %p : !S, !K -> !V        // of the incoming state
  %d  = arith.subf %v, %u : !V
  %y  = fla.scale %d, %beta : !V, f64
  %a  = math.exp %g : f64
  %S1 = fla.gate %S, %a : !S, f64
  %S2 = fla.write %S1, %k, %y : !S, !K, !V
  %qs = fla.scale %q, %scale : !K, f64
  %o  = fla.read %S2, %qs : !S, !K -> !V
  fla.yield state(%S2) outputs(%o) : !S, !V
}
