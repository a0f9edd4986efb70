// Linear attention without normaliser.
//
//   S_t = S_{t-1} + k_t v_t^T
//   o_t = scale S_t^T q_t
//
// A. Katharopoulos, A. Vyas, N. Pappas, F. Fleuret: Transformers are RNNs: Fast
// Autoregressive Transformers with Linear Attention. arXiv:2006.16236 (2020),
// section 3.4, with the feature map applied to q and k by the caller.
// Class: no gate, no solve.

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

fla.recurrence @linear_attn state(%S : !S) (
    %q : !K, %k : !K, %v : !V, %scale : f64 {value, default = 1.0}) {
  %S1 = fla.write %S, %k, %v : !S, !K, !V
  %qs = fla.scale %q, %scale : !K, f64
  %o  = fla.read %S1, %qs : !S, !K -> !V
  fla.yield state(%S1) outputs(%o) : !S, !V
}
