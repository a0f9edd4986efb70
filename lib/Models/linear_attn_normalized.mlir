// Linear attention with its normaliser.
//
//   S_t = S_{t-1} + k_t v_t^T,   z_t = z_{t-1} + k_t
//   o_t = scale S_t^T q_t / (scale q_t^T z_t + eps)
//
// A. Katharopoulos, A. Vyas, N. Pappas, F. Fleuret: Transformers are RNNs: Fast
// Autoregressive Transformers with Linear Attention. arXiv:2006.16236 (2020),
// section 3.4. q and k are features, so they are not negative.
// Class: no gate, no solve, a vector state beside the matrix.

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

fla.recurrence @linear_attn_normalized state(%S : !S, %z : !K) (
    %q : !K {min = 0.0}, %k : !K {min = 0.0}, %v : !V,
    %scale : f64 {value, default = 1.0}, %eps : f64 {value, default = 1.0e-10}) {
  %S1  = fla.write %S, %k, %v : !S, !K, !V
  %z1  = arith.addf %z, %k : !K
  %qs  = fla.scale %q, %scale : !K, f64
  %num = fla.read %S1, %qs : !S, !K -> !V
  %qz  = fla.dot %qs, %z1 : !K
  %den = arith.addf %qz, %eps : f64
  %one = arith.constant 1.0 : f64
  %inv = arith.divf %one, %den : f64
  %o   = fla.scale %num, %inv : !V, f64
  fla.yield state(%S1, %z1) outputs(%o) : !S, !K, !V
}
