// Short causal convolution of four taps, channel by channel, as it stands before the
// keys, queries and values of most layers.
//
//   y_t = silu(w0 x_{t-3} + w1 x_{t-2} + w2 x_{t-1} + w3 x_t + bias) + residual_t
//
// The states are the last three tokens, the oldest first; each overwrites the one
// before it. In front of a recurrence and with this activation: A. Gu, T. Dao: Mamba:
// Linear-Time Sequence Modeling with Selective State Spaces. arXiv:2312.00752 (2023).
// Class: elementwise, three overwritten states.

!D = tensor<?xf64, #fla.dims<D>>

fla.recurrence @short_conv state(%x3 : !D, %x2 : !D, %x1 : !D) (
    %x : !D, %w0 : !D {param}, %w1 : !D {param}, %w2 : !D {param}, %w3 : !D {param},
    %bias : !D {param, default = 0.0}, %residual : !D {default = 0.0}) {
  %t3  = arith.mulf %w0, %x3 : !D
  %t2  = arith.mulf %w1, %x2 : !D
  %t1  = arith.mulf %w2, %x1 : !D
  %t0  = arith.mulf %w3, %x : !D
  %s2  = arith.addf %t3, %t2 : !D
  %s1  = arith.addf %s2, %t1 : !D
  %s0  = arith.addf %s1, %t0 : !D
  %sum = arith.addf %s0, %bias : !D

  %gate = fla.sigmoid %sum : !D
  %y    = arith.mulf %sum, %gate : !D
  %o    = arith.addf %y, %residual : !D
  fla.yield state(%x2, %x1, %x) outputs(%o) : !D, !D, !D, !D
}
