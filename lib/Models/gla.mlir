// Gated linear attention (GLA).
//
//   S_t = Diag(e^{gk_t}) S_{t-1} Diag(e^{gv_t}) + k_t v_t^T
//   o_t = scale S_t^T q_t
//
// S. Yang, B. Wang, Y. Shen, R. Panda, Y. Kim: Gated Linear Attention
// Transformers with Hardware-Efficient Training. arXiv:2312.06635 (2023),
// section 4.1: the general outer-product gate; the paper's model keeps gk only.
// Class: K, V or two-sided gate by which of gk and gv are given; no solve.

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

fla.recurrence @gla state(%S : !S) (
    %q : !K, %k : !K, %v : !V,
    %gk : !K {max = 0.0, default = 0.0}, %gv : !V {max = 0.0, default = 0.0},
    %scale : f64 {value, default = 1.0}) {
  %ak = math.exp %gk : !K
  %av = math.exp %gv : !V
  %S1 = fla.gate %S, %ak : !S, !K             // rows decay
  %S2 = fla.gate %S1, %av : !S, !V            // columns decay
  %S3 = fla.write %S2, %k, %v : !S, !K, !V
  %qs = fla.scale %q, %scale : !K, f64
  %o  = fla.read %S3, %qs : !S, !K -> !V
  fla.yield state(%S3) outputs(%o) : !S, !V
}
