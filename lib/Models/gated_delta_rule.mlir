// Gated delta rule (Gated DeltaNet).
//
//   S_t = (I - beta_t k_t k_t^T) e^{g_t} S_{t-1} + beta_t k_t v_t^T
//   o_t = scale S_t^T q_t
//
// S. Yang, J. Kautz, A. Hatamizadeh: Gated Delta Networks: Improving Mamba2
// with Delta Rule. arXiv:2412.06464 (2024), section 3.1; there S is V x K.
// Class: scalar gate, solve rank 1, read after the decay.
// Keys have unit norm; g is a natural log.

!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>

fla.recurrence @gated_delta_rule state(%S : !S) (
    %q : !K, %k : !K {unit}, %v : !V, %g : f64 {max = 0.0}, %beta : f64 {min = 0.0, max = 1.0},
    %scale : f64 {value, default = 1.0}) {
  %a  = math.exp %g : f64
  %S1 = fla.gate %S, %a : !S, f64             // decay
  %u  = fla.read %S1, %k : !S, !K -> !V       // what the memory holds for k
  %d  = arith.subf %v, %u : !V
  %y  = fla.scale %d, %beta : !V, f64
  %S2 = fla.write %S1, %k, %y : !S, !K, !V    // correct it by beta (v - S^T k)
  %qs = fla.scale %q, %scale : !K, f64
  %o  = fla.read %S2, %qs : !S, !K -> !V
  fla.yield state(%S2) outputs(%o) : !S, !V
}
