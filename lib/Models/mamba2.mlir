// Mamba-2 (the state-space dual).
//
//   S_t = e^{dt_t A} S_{t-1} + B_t (dt_t x_t)^T        S is N x P
//   y_t = S_t^T C_t + D x_t
//
// T. Dao, A. Gu: Transformers are SSMs: Generalized Models and Efficient
// Algorithms Through Structured State Space Duality. arXiv:2405.21060 (2024), with
// A a scalar a head. dt is the step after softplus.
// Class: scalar gate, no solve.

!N = tensor<?xf64, #fla.dims<N>>
!P = tensor<?xf64, #fla.dims<P>>
!S = tensor<?x?xf64, #fla.dims<N, P>>

fla.recurrence @mamba2 state(%S : !S) (
    %x : !P, %dt : f64 {min = 0.0}, %A : f64 {param, max = 0.0}, %B : !N, %C : !N,
    %D : f64 {param, default = 0.0}) {
  %g  = arith.mulf %dt, %A : f64
  %a  = math.exp %g : f64
  %S1 = fla.gate %S, %a : !S, f64
  %xd = fla.scale %x, %dt : !P, f64
  %S2 = fla.write %S1, %B, %xd : !S, !N, !P
  %y  = fla.read %S2, %C : !S, !N -> !P
  %Dx = fla.scale %x, %D : !P, f64
  %o  = arith.addf %y, %Dx : !P
  fla.yield state(%S2) outputs(%o) : !S, !P
}
