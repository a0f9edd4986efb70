// Mamba-3, single input and output: trapezoidal steps and data-dependent rotation.
//
//   theta_t = theta_{t-1} + dt_t angles_t               R angles; keys have 2R channels
//   k'_t = Rot(theta_t) k_t,   q'_t = Rot(theta_t) q_t
//   S_t = e^{g_t} S_{t-1} + (1 - trap_t) dt_t e^{g_t} k'_{t-1} v_{t-1}^T + trap_t dt_t k'_t v_t^T
//   o_t = S_t^T q'_t + D v_t
//
// A. Lahoti, K. Y. Li, B. Chen, C. Wang, A. Bick, J. Z. Kolter, T. Dao, A. Gu:
// Mamba-3: Improved Sequence Modeling using State Space Principles.
// arXiv:2603.15569 (2026): the exponential-trapezoidal rule and the
// complex state, its rotations absorbed by keys and queries. g = dt A.
// q, k and v are the paper's C, B and x.
// Class: scalar gate, no solve, two writes a token; elementwise angle, previous
// key and previous value.

!R = tensor<?xf64, #fla.dims<R>>
!K = tensor<?xf64, #fla.dims<"2*R">>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<"2*R", V>>

fla.recurrence @mamba3 state(%S : !S, %theta : !R, %kp : !K, %vp : !V) (
    %q : !K, %k : !K, %v : !V, %g : f64 {max = 0.0}, %dt : f64 {min = 0.0, max = 1.0},
    %trap : f64 {min = 0.0, max = 1.0}, %angles : !R {min = -1.0, max = 1.0},
    %D : f64 {param, default = 0.0}) {
  %dth = fla.scale %angles, %dt : !R, f64
  %th  = arith.addf %theta, %dth : !R
  %kr  = fla.rotate %k, %th : !K, !R
  %qr  = fla.rotate %q, %th : !K, !R

  %a   = math.exp %g : f64
  %S1  = fla.gate %S, %a : !S, f64
  %one = arith.constant 1.0 : f64
  %ct  = arith.subf %one, %trap : f64
  %cd  = arith.mulf %ct, %dt : f64
  %ca  = arith.mulf %cd, %a : f64
  %yp  = fla.scale %vp, %ca : !V, f64
  %S2  = fla.write %S1, %kp, %yp : !S, !K, !V // the previous token, at this step's start
  %w   = arith.mulf %trap, %dt : f64
  %y   = fla.scale %v, %w : !V, f64
  %S3  = fla.write %S2, %kr, %y : !S, !K, !V  // this token, at this step's end

  %r   = fla.read %S3, %qr : !S, !K -> !V
  %Dv  = fla.scale %v, %D : !V, f64
  %o   = arith.addf %r, %Dv : !V
  fla.yield state(%S3, %th, %kr, %v) outputs(%o) : !S, !R, !K, !V, !V
}
