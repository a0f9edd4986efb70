// Hierarchically gated recurrent network (HGRN): a gated vector state.
//
//   h_t = e^{g_t} h_{t-1} + x_t
//   o_t = h_t
//
// Z. Qin, S. Yang, Y. Zhong: Hierarchically Gated Recurrent Neural Network for
// Sequence Modeling. arXiv:2311.04823 (2023); x is the input already multiplied by
// 1 - e^g.
// Class: elementwise.

!D = tensor<?xf64, #fla.dims<D>>

fla.recurrence @hgrn state(%h : !D) (%x : !D, %g : !D {max = 0.0}) {
  %a  = math.exp %g : !D
  %h1 = fla.gate %h, %a : !D, !D
  %h2 = arith.addf %h1, %x : !D
  fla.yield state(%h2) outputs(%h2) : !D, !D
}
