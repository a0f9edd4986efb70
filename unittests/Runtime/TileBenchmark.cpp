//===- TileBenchmark.cpp - rates of the micro-kernels ---------------------===//
//
// Prints GFLOP/s of f32 products at 64x128x128 next to the machine's FMA rate,
// nanoseconds an element of exp, and compile times.
//
//===----------------------------------------------------------------------===//
#include "TileRunner.h"

#include <algorithm>
#include <cstdlib>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

using namespace fla;
using namespace fla::testing;

namespace {

/// Peak of this core: independent FMAs on registers, GFLOP/s.
#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) double fmaPeak() {
  double best = 0;
  for (int attempt = 0; attempt < 30; ++attempt) {
    __m256 acc[10], x = _mm256_set1_ps(0.999f), y = _mm256_set1_ps(1e-3f);
    for (auto &a : acc)
      a = _mm256_set1_ps(1.0f);
    const int64_t steps = 200000;
    double start = now();
    for (int64_t i = 0; i < steps; ++i) {
      for (auto &a : acc)
        a = _mm256_fmadd_ps(a, x, y);
      asm volatile("" : "+x"(acc[0]), "+x"(acc[1]), "+x"(acc[2]), "+x"(acc[3]), "+x"(acc[4]));
    }
    double rate = steps * 10 * 16 / (now() - start) * 1e-9;
    volatile float sink = 0;
    for (auto &a : acc)
      sink = sink + a[0];
    best = std::max(best, rate);
  }
  return best;
}
#else
double fmaPeak() { return 0; }
#endif

std::string matrix(int64_t rows, int64_t columns) { return std::to_string(rows) + "x" + std::to_string(columns) + "xf32"; }

/// Seconds of one repetition of `body` inside a kernel's loop.
double timeBody(const std::string &args, const std::string &loads, const std::string &body, const std::string &carry, const std::string &store,
                int64_t repetitions, std::vector<runtime::Buffer> buffers) {
  std::string text = "tile.kernel @k(" + args + ") attributes {chunk = 1 : i64, blocks = 1 : i64} {\n%c0 = arith.constant 0 : index\n%c1 = arith.constant 1 : index\n%n = tile.num_chunks\n" +
                     loads + "%r = scf.for %i = %c0 to %n step %c1 iter_args(%s = %init) -> (tensor<" + carry + ">) {\n" + body + "scf.yield %next : tensor<" + carry + ">\n}\n" + store + "}\n";
  TileRunner runner(text);
  runtime::Kernel kernel = runner.kernel();
  double best = 1e9;
  // Many short attempts: the best one is not disturbed by other programs.
  for (int attempt = 0; attempt < 300; ++attempt) {
    double start = now();
    runtime::launch(kernel, buffers.data(), {1, repetitions, 1, 1, nullptr}, 1);
    best = std::min(best, (now() - start) / repetitions);
  }
  return best;
}

void benchmarkDot(int64_t m, int64_t n, int64_t k, bool ta, bool tb, const char *more, double peak) {
  std::vector<float> a(m * k, 0.5f), b(n * k, 0.25f), c(m * n);
  std::string ta_ = ta ? matrix(k, m) : matrix(m, k), tb_ = tb ? matrix(n, k) : matrix(k, n), tc = matrix(m, n);
  auto buffer = [](const std::string &t) { return "!tile.buffer<state, " + t + ">"; };
  std::string attributes = std::string(more) + (ta ? " {transpose_a}" : tb ? " {transpose_b}" : "");
  double seconds = timeBody("%pa : " + buffer(ta_) + ", %pb : " + buffer(tb_) + ", out %pc : " + buffer(tc),
                            "%a = tile.load %pa : " + buffer(ta_) + " -> tensor<" + ta_ + ">\n%b = tile.load %pb : " + buffer(tb_) + " -> tensor<" + tb_ +
                                ">\n%init = arith.constant dense<0.0> : tensor<" + tc + ">\n",
                            "%next = tile.dot %a, %b " + attributes + " : tensor<" + ta_ + ">, tensor<" + tb_ + "> -> tensor<" + tc + ">\n", tc,
                            "tile.store %r, %pc : tensor<" + tc + ">, " + buffer(tc) + "\n", 30,
                            {{a.data(), 0, 0, 0, 1}, {b.data(), 0, 0, 0, 1}, {c.data(), 0, 0, 0, 1}});
  double rate = 2.0 * m * n * k / seconds * 1e-9;
  std::printf("dot %3ldx%3ldx%3ld %c%c %-28s %7.1f GFLOP/s  %5.1f %% of FMA peak  %6.2f us\n", m, n, k, ta ? 'T' : 'N', tb ? 'T' : 'N', more, rate,
              100 * rate / peak, seconds * 1e6);
}

void benchmarkUnary(const char *body, const char *label) {
  std::vector<float> x(64 * 128, -0.7f), y(64 * 128);
  std::string t = matrix(64, 128), buffer = "!tile.buffer<state, " + t + ">";
  double seconds = timeBody("%pa : " + buffer + ", out %pc : " + buffer, "%init = tile.load %pa : " + buffer + " -> tensor<" + t + ">\n", body, t,
                            "tile.store %r, %pc : tensor<" + t + ">, " + buffer + "\n", 30, {{x.data(), 0, 0, 0, 1}, {y.data(), 0, 0, 0, 1}});
  std::printf("%-40s %7.3f ns/element\n", label, seconds / (64 * 128) * 1e9);
}

void benchmarkOther(const std::string &label, const std::string &from, const std::string &to, const std::string &op) {
  std::vector<float> x(1 << 16, -0.01f), y(1 << 16);
  auto buffer = [](const std::string &t) { return "!tile.buffer<state, " + t + ">"; };
  double seconds = timeBody("%pa : " + buffer(from) + ", out %pc : " + buffer(to),
                            "%a = tile.load %pa : " + buffer(from) + " -> tensor<" + from + ">\n%init = arith.constant dense<0.0> : tensor<" + to + ">\n", "%next = " + op + "\n",
                            to, "tile.store %r, %pc : tensor<" + to + ">, " + buffer(to) + "\n", 30, {{x.data(), 0, 0, 0, 1}, {y.data(), 0, 0, 0, 1}});
  std::printf("%-40s %7.2f us\n", label.c_str(), seconds * 1e6);
}

} // namespace

int main() {
  double peak = fmaPeak();
  std::printf("FMA peak of one core (256 bit): %.1f GFLOP/s\n", peak);
  for (auto [m, n, k] : {std::array<int64_t, 3>{64, 128, 128}, {128, 128, 64}, {64, 64, 128}, {64, 128, 64}})
    for (int transposes = 0; transposes < 3; ++transposes)
      benchmarkDot(m, n, k, transposes == 1, transposes == 2, "", peak);
  benchmarkDot(64, 64, 128, false, true, "pairs(causal)", peak);
  benchmarkDot(64, 128, 64, false, false, "pairs(causal)", peak);
  benchmarkDot(64, 128, 64, true, false, "pairs(causal)", peak);
  for (int level : {1, 2, 4, 8, 16, 32}) {
    std::string more = "pairs(level) level " + std::to_string(level);
    benchmarkDot(64, 64, 128, false, true, more.c_str(), peak);
    benchmarkDot(64, 128, 64, false, false, more.c_str(), peak);
  }
  benchmarkDot(1, 128, 128, false, false, "", peak);
  benchmarkDot(1, 128, 128, false, true, "", peak);
  benchmarkUnary("%e = math.exp %s : tensor<64x128xf32>\n%next = arith.negf %e : tensor<64x128xf32>\n", "exp");
  benchmarkUnary("%next = math.log1p %s : tensor<64x128xf32>\n", "log1p");
  benchmarkUnary("%next = math.tanh %s : tensor<64x128xf32>\n", "tanh");
  benchmarkUnary("%next = arith.addf %s, %s : tensor<64x128xf32>\n", "add in place");
  benchmarkOther("inverse 64", "64x64xf32", "64x64xf32", "tile.inverse %a : tensor<64x64xf32>");
  benchmarkOther("segsum 64", "64xf32", "64x64xf32", "tile.segsum %a : tensor<64xf32> -> tensor<64x64xf32>");
  benchmarkOther("segsum_grad 64", "64x64xf32", "64xf32", "tile.segsum_grad %a : tensor<64x64xf32> -> tensor<64xf32>");
  benchmarkOther("cumsum 64x128", "64x128xf32", "64x128xf32", "tile.cumsum %a : tensor<64x128xf32>");
  benchmarkOther("level_decay 64x128, level 8", "64x128xf32", "64x128xf32", "tile.level_decay %a 8 : tensor<64x128xf32>");
  benchmarkOther("transpose 64x128", "64x128xf32", "128x64xf32", "tile.transpose %a : tensor<64x128xf32> -> tensor<128x64xf32>");
  benchmarkOther("reduce 64x128 axis 0", "64x128xf32", "128xf32", "tile.reduce add %a axis 0 : tensor<64x128xf32> -> tensor<128xf32>");
  benchmarkOther("reduce 64x128 axis 1", "64x128xf32", "64xf32", "tile.reduce add %a axis 1 : tensor<64x128xf32> -> tensor<64xf32>");
  return 0;
}
