// RWKV-6 (Finch): a K gate, read before the write, with a bonus for the present.
//
//   o_t = scale (S_{t-1} + Diag(u) k_t v_t^T)^T r_t
//   S_t = Diag(e^{w_t}) S_{t-1} + k_t v_t^T
//
// B. Peng et al.: Eagle and Finch: RWKV with Matrix-Valued States and Dynamic
// Recurrence. arXiv:2404.05892 (2024).
// Class: K gate, no solve, read of the incoming state.

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

fla.recurrence @rwkv6 state(%S : !S) (
    %r : !K, %k : !K, %v : !V, %w : !K {max = 0.0}, %u : !K {param},
    %scale : f64 {value, default = 1.0}) {
  %rs   = fla.scale %r, %scale : !K, f64
  %past = fla.read %S, %rs : !S, !K -> !V
  %uk   = arith.mulf %u, %k : !K
  %b    = fla.dot %rs, %uk : !K
  %now  = fla.scale %v, %b : !V, f64
  %o    = arith.addf %past, %now : !V
  %a    = math.exp %w : !K
  %S1   = fla.gate %S, %a : !S, !K
  %S2   = fla.write %S1, %k, %v : !S, !K, !V
  fla.yield state(%S2) outputs(%o) : !S, !V
}
