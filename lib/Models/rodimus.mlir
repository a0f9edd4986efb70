// Rodimus: a K gate and a key scale that share one tempered selection.
//
//   c_t = softplus(g_t),   r_t = sigmoid(tau_t)
//   S_t = Diag(e^{-c_t * r_t}) S_{t-1} + (c_t^{r_t} * k_t) v_t^T
//   o_t = scale S_t^T q_t
//
// Z. He, H. Yu, Z. Gong, S. Liu, J. Li, W. Lin: Rodimus*: Breaking the
// Accuracy-Efficiency Trade-Off with Efficient Attentions. arXiv:2410.06577
// (2024), data-dependent tempered selection. g and tau are the linear maps of
// the input before their activations; v carries the paper's input gate.
// Class: K gate, no solve.

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

fla.recurrence @rodimus state(%S : !S) (
    %q : !K, %k : !K, %v : !V, %g : !K, %tau : !K, %scale : f64 {value, default = 1.0}) {
  %c  = fla.softplus %g : !K
  %r  = fla.sigmoid %tau : !K
  %cr = arith.mulf %c, %r : !K
  %gl = arith.negf %cr : !K
  %a  = math.exp %gl : !K
  %S1 = fla.gate %S, %a : !S, !K
  %lc = math.log %c : !K
  %lr = arith.mulf %lc, %r : !K
  %w  = math.exp %lr : !K                     // c^r
  %kw = arith.mulf %w, %k : !K
  %S2 = fla.write %S1, %kw, %v : !S, !K, !V
  %qs = fla.scale %q, %scale : !K, f64
  %o  = fla.read %S2, %qs : !S, !K -> !V
  fla.yield state(%S2) outputs(%o) : !S, !V
}
