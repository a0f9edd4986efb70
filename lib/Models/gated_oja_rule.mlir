// Gated Oja rule: the delta rule's mirror image, errors on the key side.
//
//   S'  = S_{t-1} Diag(e^{gv_t})
//   S_t = S' + beta_t (k_t - S' v_t) v_t^T
//   o_t = scale S_t^T q_t
//
// E. Oja: Simplified neuron model as a principal component analyzer. Journal of
// Mathematical Biology 15 (1982); as a layer's fast weights:
// K. Irie, F. Faccio, J. Schmidhuber: Neural Differential Equations for Learning to
// Program Neural Nets Through Continuous Learning Rules. arXiv:2206.01649 (2022).
// Class: V gate, solve rank 1 on the transposed state. v has unit norm.

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

fla.recurrence @gated_oja_rule state(%S : !S) (
    %q : !K, %k : !K, %v : !V {unit}, %gv : !V {max = 0.0},
    %beta : f64 {min = 0.0, max = 1.0}, %scale : f64 {value, default = 1.0}) {
  %a  = math.exp %gv : !V
  %S1 = fla.gate %S, %a : !S, !V
  %u  = fla.read %S1, %v : !S, !V -> !K       // S v: what the memory explains of k
  %d  = arith.subf %k, %u : !K
  %x  = fla.scale %d, %beta : !K, f64
  %S2 = fla.write %S1, %x, %v : !S, !K, !V
  %qs = fla.scale %q, %scale : !K, f64
  %o  = fla.read %S2, %qs : !S, !K -> !V
  fla.yield state(%S2) outputs(%o) : !S, !V
}
