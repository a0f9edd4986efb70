// Gated DeltaNet-2: separate gates to erase (b, over keys) and to write (w, over values).
//
//   S'  = Diag(e^{g_t}) S_{t-1}
//   S_t = S' + k_t (w_t * v_t - S'^T (b_t * k_t))^T
//   o_t = scale S_t^T q_t
//
// A. Hatamizadeh, Y. Choi, J. Kautz: Gated DeltaNet-2: Decoupling Erase and Write
// in Linear Attention. arXiv:2605.22791 (2026).
// Class: K gate, solve rank 1, read after the decay.

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

fla.recurrence @gdn2 state(%S : !S) (
    %q : !K, %k : !K {unit}, %v : !V, %g : !K {max = 0.0},
    %b : !K {min = 0.0, max = 1.0}, %w : !V {min = 0.0, max = 1.0},
    %scale : f64 {value, default = 1.0}) {
  %a  = math.exp %g : !K
  %S1 = fla.gate %S, %a : !S, !K
  %bk = arith.mulf %b, %k : !K
  %u  = fla.read %S1, %bk : !S, !K -> !V
  %wv = arith.mulf %w, %v : !V
  %y  = arith.subf %wv, %u : !V
  %S2 = fla.write %S1, %k, %y : !S, !K, !V
  %qs = fla.scale %q, %scale : !K, f64
  %o  = fla.read %S2, %qs : !S, !K -> !V
  fla.yield state(%S2) outputs(%o) : !S, !V
}
