// RWKV-4: an exponentially weighted mean, kept in range by its running maximum.
//
//   wkv_t = (sum_{s<t} e^{w (t-1-s) + k_s} v_s + e^{u + k_t} v_t)
//           / (sum_{s<t} e^{w (t-1-s) + k_s} + e^{u + k_t})
//
// B. Peng et al.: RWKV: Reinventing RNNs for the Transformer Era.
// arXiv:2305.13048 (2023), the WKV operator and its stable form. w is the natural
// log of the decay, so it is not positive; num and den are the two sums divided
// by e^m.
// Class: elementwise, one max state and two linear ones.

!D = tensor<?xf64, #fla.dims<D>>

fla.recurrence @rwkv4 state(%num : !D, %den : !D, %m : !D {init = 0xFFF0000000000000 : f64}) (
    %w : !D {param, max = 0.0}, %u : !D {param}, %k : !D, %v : !D) {
  // What is read: the past and this token's bonus, both relative to n.
  %uk = arith.addf %u, %k : !D
  %n  = arith.maximumf %m, %uk : !D
  %dp = arith.subf %m, %n : !D
  %ep = math.exp %dp : !D
  %db = arith.subf %uk, %n : !D
  %eb = math.exp %db : !D
  %an = arith.mulf %ep, %num : !D
  %bv = arith.mulf %eb, %v : !D
  %on = arith.addf %an, %bv : !D
  %ad = arith.mulf %ep, %den : !D
  %od = arith.addf %ad, %eb : !D
  %o  = arith.divf %on, %od : !D

  // What is kept: both sums relative to the new maximum.
  %mw = arith.addf %m, %w : !D
  %m1 = arith.maximumf %mw, %k : !D
  // (m - m1) + w, not (m + w) - m1: the difference is exact, so the sums are
  // corrected for what rounding made of m + w.
  %ms = arith.subf %m, %m1 : !D
  %dm = arith.addf %ms, %w : !D
  %em = math.exp %dm : !D
  %dk = arith.subf %k, %m1 : !D
  %ek = math.exp %dk : !D
  %kv = arith.mulf %ek, %v : !D
  %n0 = fla.gate %num, %em : !D, !D
  %n1 = arith.addf %n0, %kv : !D
  %d0 = fla.gate %den, %em : !D, !D
  %d1 = arith.addf %d0, %ek : !D
  fla.yield state(%n1, %d1, %m1) outputs(%o) : !D, !D, !D, !D
}
