// ReBased: linear attention with a quadratic feature map.
//
//   phi(x) = x x^T                                      D*D features
//   S_t = S_{t-1} + phi(k_t) v_t^T,   z_t = z_{t-1} + phi(k_t)
//   o_t = S_t^T phi(scale q_t) / (phi(scale q_t)^T z_t + eps)
//
// Y. Aksenov, N. Balagansky, S. M. Lo Cicero Vaina, B. Shaposhnikov, A. Gorbatovski,
// D. Gavrilov: Linear Transformers with Learnable Kernel Functions are Better
// In-Context Models. arXiv:2402.10644 (2024). q and k come normalised and
// with the learned affine map applied.
// Class: no gate, no solve; scores are s^2 with s = scale q^T k.

!D = tensor<?xf64, #fla.dims<D>>
!DD = tensor<?x?xf64, #fla.dims<D, "D'">>
!E = tensor<?xf64, #fla.dims<"D'">>
!F = tensor<?xf64, #fla.dims<"D*D">>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<"D*D", V>>

fla.recurrence @rebased state(%S : !S, %z : !F) (
    %q : !D, %k : !D, %v : !V,
    %scale : f64 {value, default = 1.0}, %eps : f64 {value, default = 1.0e-5}) {
  %k1 = fla.rename %k : !D -> !E
  %kk = fla.outer %k, %k1 : !D, !E -> !DD
  %fk = fla.flatten %kk : !DD -> !F
  %qs = fla.scale %q, %scale : !D, f64
  %q1 = fla.rename %qs : !D -> !E
  %qq = fla.outer %qs, %q1 : !D, !E -> !DD
  %fq = fla.flatten %qq : !DD -> !F

  %S1  = fla.write %S, %fk, %v : !S, !F, !V
  %z1  = arith.addf %z, %fk : !F
  %num = fla.read %S1, %fq : !S, !F -> !V
  %qz  = fla.dot %fq, %z1 : !F
  %den = arith.addf %qz, %eps : f64
  %one = arith.constant 1.0 : f64
  %inv = arith.divf %one, %den : f64
  %o   = fla.scale %num, %inv : !V, f64
  fla.yield state(%S1, %z1) outputs(%o) : !S, !F, !V
}
