// Based: linear attention with the second-order Taylor feature map of exp.
//
//   phi(x) = [1, x, (x x^T) / sqrt(2)]                  1 + D + D*D features
//   S_t = S_{t-1} + phi(k_t) v_t^T,   z_t = z_{t-1} + phi(k_t)
//   o_t = S_t^T phi(scale q_t) / (phi(scale q_t)^T z_t + eps)
//
// S. Arora, S. Eyuboglu, M. Zhang, A. Timalsina, S. Alberti, D. Zinsley, J. Zou,
// A. Rudra, C. Re: Simple linear attention language models balance the
// recall-throughput tradeoff. arXiv:2402.18668 (2024).
// Class: no gate, no solve; scores are 1 + s + s^2/2 with s = scale q^T k.

!D = tensor<?xf64, #fla.dims<D>>
!DD = tensor<?x?xf64, #fla.dims<D, "D'">>
!E = tensor<?xf64, #fla.dims<"D'">>
!D2 = tensor<?xf64, #fla.dims<"D*D">>
!F = tensor<?xf64, #fla.dims<"1 + D + D*D">>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<"1 + D + D*D", V>>

fla.recurrence @based state(%S : !S, %z : !F) (
    %q : !D, %k : !D, %v : !V,
    %scale : f64 {value, default = 1.0}, %eps : f64 {value, default = 1.0e-6}) {
  %one = arith.constant 1.0 : f64
  %r  = arith.constant 0.70710678118654752440 : f64

  %k1 = fla.rename %k : !D -> !E
  %kk = fla.outer %k, %k1 : !D, !E -> !DD
  %k2 = fla.flatten %kk : !DD -> !D2
  %k3 = fla.scale %k2, %r : !D2, f64
  %fk = fla.concat %one, %k, %k3 : f64, !D, !D2 -> !F

  %qs = fla.scale %q, %scale : !D, f64
  %q1 = fla.rename %qs : !D -> !E
  %qq = fla.outer %qs, %q1 : !D, !E -> !DD
  %q2 = fla.flatten %qq : !DD -> !D2
  %q3 = fla.scale %q2, %r : !D2, f64
  %fq = fla.concat %one, %qs, %q3 : f64, !D, !D2 -> !F

  %S1  = fla.write %S, %fk, %v : !S, !F, !V
  %z1  = arith.addf %z, %fk : !F
  %num = fla.read %S1, %fq : !S, !F -> !V
  %qz  = fla.dot %fq, %z1 : !F
  %den = arith.addf %qz, %eps : f64
  %inv = arith.divf %one, %den : f64
  %o   = fla.scale %num, %inv : !V, f64
  fla.yield state(%S1, %z1) outputs(%o) : !S, !F, !V
}
