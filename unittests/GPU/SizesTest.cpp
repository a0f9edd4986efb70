//===- SizesTest.cpp - sizes of all kinds on simulated GPUs ---------------===//
//
// Definitions with sizes that are no powers of two, with states that one block
// cannot hold, and with features of an outer product: what the simulated kernels
// write is what the tile interpreter says of the same kernels, before they are
// padded; the simulator may not complain.
//
//===----------------------------------------------------------------------===//
#include "Simulated.h"

#include "Roles.h"
#include "Rungs.h"
#include "fla/Target/GPU/Chip.h"
#include "mlir/Parser/Parser.h"

#include <chrono>
#include <cmath>
#include <cstdio>

using namespace fla;
using namespace fla::testing;

static int failures = 0, cases = 0;

namespace {
struct Size {
  std::string model;
  interp::Sizes dims;
  bool backward = true;
  std::string dtype = "bf16";
};
} // namespace

static void complain(const std::string &name, const std::string &what) {
  ++failures;
  std::printf("FAIL %s: %s\n", name.c_str(), what.c_str());
}

static double relativeError(const std::vector<double> &got, const std::vector<double> &want) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < want.size(); ++i)
    difference += got[i] == want[i] ? 0 : (got[i] - want[i]) * (got[i] - want[i]);
  for (double x : want)
    norm += std::isfinite(x) ? x * x : 0;
  return std::sqrt(difference) / (std::sqrt(norm) + 1e-6 * std::sqrt(double(want.size())));
}

/// What the caller passes, rounded to what the kernels' buffers hold.
static interp::Buffers givenTo(mlir::ModuleOp module, const check::Problem &problem) {
  interp::Buffers buffers;
  for (tile::KernelOp kernel : module.getOps<tile::KernelOp>()) {
    auto roles = kernel->getAttrOfType<mlir::ArrayAttr>("roles");
    for (auto [i, argument] : llvm::enumerate(kernel.getBody().getArguments())) {
      auto type = mlir::cast<tile::BufferType>(argument.getType());
      auto value = check::givenValue(mlir::cast<mlir::StringAttr>(roles[i]).getValue(), kernel.getArgName(i), problem);
      if (!value)
        continue;
      if (type.getKind() != tile::BufferKind::value)
        roundTo(type.getElementType(), value->data);
      buffers[kernel.getArgName(i).str()] = {value->data, 1};
    }
  }
  return buffers;
}

static void run(const Size &size, const std::string &chip, bool backward) {
  ++cases;
  std::string name = size.model + (backward ? " reverse" : "") + " on " + chip + " (" + size.dtype + ")";
  auto source = mlir::parseSourceFile<mlir::ModuleOp>(FLA_MODELS + size.model + ".mlir", context());
  if (!source)
    return complain(name, "cannot parse");
  RecurrenceOp definition = *source->getOps<RecurrenceOp>().begin();
  check::Case kind;
  kind.tokens = 40;
  auto problem = check::makeProblem(definition, kind, check::chooseDims(definition, size.dims), 3);
  if (!problem)
    return complain(name, llvm::toString(problem.takeError()));
  CompileOptions options;
  options.entry = definition.getSymName().str();
  options.dims = problem->dims;
  options.target = (chip.find("sm_") == 0 ? "cuda:" : "hip:") + chip;
  options.dtype = size.dtype;
  options.chunk = 32;
  options.forward = !backward;
  options.backward = backward;
  options.until = Phase::Kernelize;
  if (failed(runPhases(*source, options)))
    return complain(name, "cannot compile");
  Run trial{chip, givenTo(*source, *problem), {}};
  trial.launch.tokens = problem->tokens;
  interp::Buffers want = trial.given;
  if (llvm::Error error = interp::runKernels(*source, want, trial.launch))
    return complain(name, llvm::toString(std::move(error)));
  Outcome outcome = simulateKernels(*source, trial);
  if (!outcome.problem.empty())
    return complain(name, outcome.problem);
  double tolerance = size.dtype == "f32" ? 2e-5 : 2e-2;
  for (auto &[buffer, values] : outcome.written) // but for what passes from kernel to kernel
    if (double error = relativeError(values, want[buffer].data); buffer.find('.') == std::string::npos && !(error <= tolerance))
      complain(name, buffer + ": error " + std::to_string(error) + ", tolerance " + std::to_string(tolerance));
}

static interp::Sizes sizes(std::initializer_list<std::pair<const char *, int64_t>> list) {
  interp::Sizes result;
  for (auto &[name, size] : list)
    result[name] = size;
  return result;
}

int main(int argc, char **argv) {
  auto start = std::chrono::steady_clock::now();
  const std::vector<Size> all = {
      {"gated_delta_rule", sizes({{"K", 100}, {"V", 96}})},
      {"gated_delta_rule", sizes({{"K", 20}, {"V", 36}}), true, "f32"},
      {"gla", sizes({{"K", 36}, {"V", 50}})},
      {"kda", sizes({{"K", 40}, {"V", 24}})},
      {"delta_product", sizes({{"K", 24}, {"V", 40}, {"n", 3}})},
      {"gsa", sizes({{"K", 40}, {"V", 24}, {"M", 20}}), true, "f32"},
      {"mamba3", sizes({{"R", 10}, {"V", 24}})},
      {"mamba", sizes({{"D", 24}, {"N", 20}})},
      {"rwkv4", sizes({{"D", 40}}), true, "f32"},
      {"based", sizes({{"D", 16}, {"V", 40}})}, // features cut into blocks
      {"based", sizes({{"D", 22}, {"V", 24}})},
      {"rebased", sizes({{"D", 12}, {"V", 40}})},
      {"linear_attn_normalized", sizes({{"K", 256}, {"V", 83}})}, // a state that blocks hold alike
      {"simple_gla", sizes({{"K", 256}, {"V", 131}})},            // columns cut into blocks
  };
  for (const Size &size : all)
    for (const char *chip : {"sm_90", "gfx942"})
      for (bool backward : {false, true})
        if (argc < 2 || size.model == argv[1])
          run(size, chip, backward);
  std::printf("%d programs, %d failures, %.1f s\n", cases, failures, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  return failures ? 1 : 0;
}
