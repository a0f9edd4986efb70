// Mamba (selective state space, S6).
//
//   h_t = e^{Diag(delta_t) A} * h_{t-1} + (delta_t * u_t) B_t^T     h is D x N
//   y_t = h_t C_t + D * u_t
//
// A. Gu, T. Dao: Mamba: Linear-Time Sequence Modeling with Selective State Spaces.
// arXiv:2312.00752 (2023), section 3.2, algorithm 2. delta is the step after
// softplus; the exponential and the product with h are elementwise.
// Class: elementwise, D x N.

!D = tensor<?xf64, #fla.dims<D>>
!N = tensor<?xf64, #fla.dims<N>>
!H = tensor<?x?xf64, #fla.dims<D, N>>

fla.recurrence @mamba state(%h : !H) (
    %u : !D, %delta : !D {min = 0.0}, %A : !H {param, max = 0.0}, %B : !N, %C : !N,
    %D : !D {param, default = 0.0}) {
  %dA = fla.scale %A, %delta : !H, !D
  %a  = math.exp %dA : !H
  %h1 = fla.gate %h, %a : !H, !H
  %du = arith.mulf %delta, %u : !D
  %x  = fla.outer %du, %B : !D, !N -> !H
  %h2 = arith.addf %h1, %x : !H
  %y  = fla.read %h2, %C : !H, !N -> !D
  %Du = arith.mulf %D, %u : !D
  %o  = arith.addf %y, %Du : !D
  fla.yield state(%h2) outputs(%o) : !H, !D
}
