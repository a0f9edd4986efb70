//===- GeneratedTest.cpp - generated GPU kernels in the simulator ---------===//
//
// Tile kernels are lowered for one chip of each family and executed by the
// simulator, which reports races and bad accesses. Their results are those of
// the tile interpreter, which computes in doubles.
//
//===----------------------------------------------------------------------===//
#include "Generated.h"

#include <chrono>
#include <cmath>
#include <cstdio>

using namespace fla;
using namespace fla::testing;

int testing::failures = 0, testing::cases = 0;

static double relativeError(const std::vector<double> &got, const std::vector<double> &want) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < want.size(); ++i)
    if (got[i] != want[i])
      difference += (got[i] - want[i]) * (got[i] - want[i]);
  for (double x : want)
    norm += std::isfinite(x) ? x * x : 0;
  return std::sqrt(difference) / (std::sqrt(norm) + 1e-6 * std::sqrt(double(want.size())));
}

static void complain(const Trial &trial, const std::string &what) {
  ++failures;
  std::printf("FAIL %s on %s: %s\n", trial.name.c_str(), trial.run.chip.c_str(), what.c_str());
}

void testing::compare(mlir::ModuleOp module, const Trial &trial) {
  ++cases;
  interp::Buffers expected = trial.run.given;
  if (llvm::Error error = interp::runKernels(module, expected, trial.run.launch))
    return complain(trial, llvm::toString(std::move(error)));
  Outcome outcome = simulateKernels(module, trial.run);
  if (!outcome.problem.empty())
    return complain(trial, outcome.problem);
  for (auto &[name, values] : outcome.written) {
    double error = relativeError(values, expected[name].data);
    if (!(error <= trial.tolerance))
      complain(trial, name + ": error " + std::to_string(error) + ", tolerance " + std::to_string(trial.tolerance));
  }
}

int main() {
  auto start = std::chrono::steady_clock::now();
  for (const char *chip : {"sm_90", "gfx942", "gfx1100", "gfx1201"})
    for (const char *element : {"bf16", "f32"})
      testOperations(chip, element);
  testOperations("sm_90", "tf32");
  std::printf("%d kernels, %d failures, %.1f s\n", cases, failures, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  return failures ? 1 : 0;
}
