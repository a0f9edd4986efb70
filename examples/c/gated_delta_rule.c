/* Calls kernels of the gated delta rule from C and checks them against a token loop.
 *
 *   fla-translate --fla-to-object lib/Models/gated_delta_rule.mlir --dims=K:32,V:24 -o gated_delta_rule.o
 *   cc -I. examples/c/gated_delta_rule.c gated_delta_rule.o -lm -o demo && ./demo
 *
 * The first command also writes gated_delta_rule.h, which says what each buffer holds.
 */
#include "gated_delta_rule.h"

#include <math.h>
#include <stdio.h>

enum { B = 2, T = 150, H = 3, K = 32, V = 24, ROWS = B * T * H, STATES = B * H };

/* Uniform numbers in [lo, hi), the same on every machine. */
static double uniform(double lo, double hi) {
  static uint64_t state = 1;
  state = state * 6364136223846793005u + 1442695040888963407u;
  return lo + (hi - lo) * (double)(state >> 11) / (double)(1ull << 53);
}

static void fill(float *x, int64_t n, double lo, double hi) {
  for (int64_t i = 0; i < n; ++i)
    x[i] = (float)uniform(lo, hi);
}

static void normalize(float *k) {
  for (int64_t row = 0; row < ROWS; ++row) {
    double norm = 0;
    for (int i = 0; i < K; ++i)
      norm += k[row * K + i] * k[row * K + i];
    for (int i = 0; i < K; ++i)
      k[row * K + i] /= (float)sqrt(norm);
  }
}

typedef struct Inputs {
  float q[ROWS * K], k[ROWS * K], v[ROWS * V], g[ROWS], beta[ROWS];
} Inputs;

/* S = e^g S;  S += k (beta (v - S^T k))^T;  o = scale S^T q */
static void token(double *S, const float *q, const float *k, const float *v, double g, double beta, double scale, double *o) {
  for (int j = 0; j < V; ++j) {
    double held = 0, out = 0;
    for (int i = 0; i < K; ++i)
      held += k[i] * (S[i * V + j] *= exp(g));
    for (int i = 0; i < K; ++i)
      S[i * V + j] += k[i] * beta * (v[j] - held);
    for (int i = 0; i < K; ++i)
      out += q[i] * S[i * V + j];
    o[j] = scale * out;
  }
}

static void loop(const Inputs *in, double scale, double *o, double *S) {
  for (int64_t i = 0; i < STATES * K * V; ++i)
    S[i] = 0;
  for (int64_t b = 0; b < B; ++b)
    for (int64_t t = 0; t < T; ++t)
      for (int64_t h = 0; h < H; ++h) {
        int64_t row = (b * T + t) * H + h;
        token(S + (b * H + h) * K * V, in->q + row * K, in->k + row * K, in->v + row * V, in->g[row], in->beta[row], scale, o + row * V);
      }
}

/* ||a - b|| / ||b|| */
static double error(const float *a, const double *b, int64_t n) {
  double difference = 0, norm = 0;
  for (int64_t i = 0; i < n; ++i) {
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    norm += b[i] * b[i];
  }
  return sqrt(difference / norm);
}

static float dO[ROWS * V];

/* The loss sum(o * dO) of the token loop. */
static double loss(const Inputs *in, double scale) {
  static double o[ROWS * V], S[STATES * K * V];
  loop(in, scale, o, S);
  double sum = 0;
  for (int64_t i = 0; i < ROWS * V; ++i)
    sum += o[i] * dO[i];
  return sum;
}

/* Largest difference of gradients of `x` and central differences, relative to their size. */
static double gradientError(Inputs *in, float *x, const float *dx, int64_t n, double scale) {
  double worst = 0, norm = 0;
  for (int64_t i = 0; i < n; i += n / 7) {
    float old = x[i], up = old + 1e-3f, down = old - 1e-3f;
    x[i] = up;
    double above = loss(in, scale);
    x[i] = down;
    double below = loss(in, scale);
    x[i] = old;
    double slope = (above - below) / ((double)up - (double)down);
    worst = fmax(worst, fabs(slope - dx[i]));
    norm = fmax(norm, fabs(slope));
  }
  return worst / norm;
}

static int failures = 0;
static void report(const char *what, double error, double tolerance) {
  printf("%-12s error %.1e  %s\n", what, error, error <= tolerance ? "pass" : "FAIL");
  failures += !(error <= tolerance);
}

int main(void) {
  static Inputs in, din;
  static float o[ROWS * V], final[STATES * K * V], dS[STATES * K * V];
  static double expected[ROWS * V], state[STATES * K * V];
  fill(in.q, ROWS * K, -1, 1);
  fill(in.k, ROWS * K, -1, 1);
  normalize(in.k);
  fill(in.v, ROWS * V, -1, 1);
  fill(in.g, ROWS, -0.5, 0);
  fill(in.beta, ROWS, 0, 1);
  fill(dO, ROWS * V, -1, 1);
  double scale = 1 / sqrt(K);
  FlaSizes sizes = {B, T, H, B, NULL};
  float *saved = malloc(sizeof(float) * (size_t)(fla_num_slots(&sizes, gated_delta_rule_chunk) * H * K * V));
  if (!saved)
    return 1;

  gated_delta_rule_buffers forward = {
      .q = fla_token(in.q, T, H, K),
      .k = fla_token(in.k, T, H, K),
      .v = fla_token(in.v, T, H, V),
      .g = fla_token(in.g, T, H, 1),
      .beta = fla_token(in.beta, T, H, 1),
      .scale = fla_value(&scale),
      .initial_S = fla_absent(), /* starts at zero */
      .o = fla_token(o, T, H, V),
      .final_S = fla_state(final, H, K * V),
      .saved_S = fla_saved(saved, H, K * V), /* for the backward; may be absent */
  };
  if (gated_delta_rule_run(&forward, &sizes))
    return 1;
  loop(&in, scale, expected, state);
  report("output", error(o, expected, ROWS * V), 1e-5);
  report("final state", error(final, state, STATES * K * V), 1e-5);

  gated_delta_rule_backward_buffers backward = {
      .q = forward.q,
      .k = forward.k,
      .v = forward.v,
      .g = forward.g,
      .beta = forward.beta,
      .d_o = fla_token(dO, T, H, V),
      .scale = forward.scale,
      .d_final_S = fla_absent(), /* no gradient of the final state */
      .saved_S = forward.saved_S,
      .d_q = fla_token(din.q, T, H, K),
      .d_k = fla_token(din.k, T, H, K),
      .d_v = fla_token(din.v, T, H, V),
      .d_g = fla_token(din.g, T, H, 1),
      .d_beta = fla_token(din.beta, T, H, 1),
      .d_initial_S = fla_state(dS, H, K * V),
  };
  if (gated_delta_rule_backward_run(&backward, &sizes))
    return 1;
  report("dq", gradientError(&in, in.q, din.q, ROWS * K, scale), 1e-4);
  report("dk", gradientError(&in, in.k, din.k, ROWS * K, scale), 1e-4);
  report("dv", gradientError(&in, in.v, din.v, ROWS * V, scale), 1e-4);
  report("dg", gradientError(&in, in.g, din.g, ROWS, scale), 1e-4);
  report("dbeta", gradientError(&in, in.beta, din.beta, ROWS, scale), 1e-4);
  free(saved);
  return failures != 0;
}
