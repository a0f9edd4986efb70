//===- PadTilesTest.cpp - padded kernels compute what they did ------------===//
//
// Random kernels, and every definition of the library forward and reverse with
// odd sizes, whole and in column blocks: the tile interpreter gets the same
// results before and after fla-pad-tiles.
//
//===----------------------------------------------------------------------===//
#include "RandomKernels.h"

#include "Roles.h"
#include "Rungs.h"
#include "fla/Dialect/Tile/Transforms/Passes.h"
#include "fla/Interpreter/Kernels.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include <cmath>
#include <cstdio>
#include <random>

using namespace fla;

static int failures = 0, cases = 0;

static void complain(const std::string &name, const std::string &what) {
  ++failures;
  std::printf("FAIL %s: %s\n", name.c_str(), what.c_str());
}

static double relativeError(const std::vector<double> &got, const std::vector<double> &want) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    bool same = got[i] == want[i] || (std::isnan(got[i]) && std::isnan(want[i]));
    difference += same ? 0 : (got[i] - want[i]) * (got[i] - want[i]);
    norm += std::isfinite(want[i]) ? want[i] * want[i] : 0;
  }
  return std::sqrt(difference) / (std::sqrt(norm) + 1e-6 * std::sqrt(double(want.size())));
}

/// Every axis of every tile is a power of two.
static bool isPadded(mlir::ModuleOp module) {
  auto fits = [](mlir::Type type) {
    auto tensor = mlir::dyn_cast<mlir::RankedTensorType>(type);
    return !tensor || llvm::all_of(tensor.getShape(), [](int64_t size) { return llvm::isPowerOf2_64(size); });
  };
  return !module
              .walk([&](mlir::Operation *op) {
                return llvm::all_of(op->getResultTypes(), fits) ? mlir::WalkResult::advance() : mlir::WalkResult::interrupt();
              })
              .wasInterrupted();
}

static void compare(const std::string &name, mlir::ModuleOp module, const interp::Buffers &given, const interp::Launch &launch) {
  ++cases;
  interp::Buffers want = given, got = given;
  if (llvm::Error error = interp::runKernels(module, want, launch))
    return complain(name, llvm::toString(std::move(error)));
  mlir::PassManager passes(module.getContext());
  passes.addPass(createPadTiles());
  if (failed(passes.run(module)))
    return complain(name, "fla-pad-tiles fails");
  if (!isPadded(module))
    return complain(name, "a tile is left as it was");
  if (llvm::Error error = interp::runKernels(module, got, launch))
    return complain(name, "padded: " + llvm::toString(std::move(error)));
  for (auto &[buffer, values] : want)
    if (double error = relativeError(got[buffer].data, values.data); !(error <= 1e-12))
      complain(name, buffer + ": error " + std::to_string(error));
}

static mlir::MLIRContext *context() {
  static mlir::MLIRContext *context = [] {
    mlir::DialectRegistry registry;
    registerDialects(registry);
    auto *made = new mlir::MLIRContext(registry, mlir::MLIRContext::Threading::DISABLED);
    made->loadAllAvailableDialects();
    return made;
  }();
  return context;
}

//===----------------------------------------------------------------------===//
// Random kernels
//===----------------------------------------------------------------------===//

static void testRandom(uint64_t seed) {
  std::string name = "random kernel " + std::to_string(seed), text = testing::randomKernel(seed);
  auto module = mlir::parseSourceString<mlir::ModuleOp>(text, context());
  if (!module)
    return complain(name, "cannot parse\n" + text);
  auto kernel = *module->getOps<tile::KernelOp>().begin();
  std::mt19937_64 engine(seed);
  interp::Buffers given;
  interp::Launch launch;
  launch.tokens = 5;
  for (auto [i, argument] : llvm::enumerate(kernel.getBody().getArguments())) {
    if (kernel.getOutputs()[i])
      continue;
    std::vector<double> values(interp::bufferSize(mlir::cast<tile::BufferType>(argument.getType()), launch, 1, kernel.getChunk()));
    for (double &x : values)
      x = (engine() & 1 ? 1 : -1) * (0.5 + (engine() >> 11) * 0x1.0p-53);
    given[kernel.getArgName(i).str()] = {values, 1};
  }
  compare(name, *module, given, launch);
}

//===----------------------------------------------------------------------===//
// Definitions
//===----------------------------------------------------------------------===//

static interp::Buffers givenTo(mlir::ModuleOp module, const check::Problem &problem) {
  interp::Buffers buffers;
  for (tile::KernelOp kernel : module.getOps<tile::KernelOp>()) {
    auto roles = kernel->getAttrOfType<mlir::ArrayAttr>("roles");
    for (unsigned i = 0; i < kernel.getArgNames().size(); ++i)
      if (auto value = check::givenValue(mlir::cast<mlir::StringAttr>(roles[i]).getValue(), kernel.getArgName(i), problem))
        buffers[kernel.getArgName(i).str()] = {value->data, 1};
  }
  return buffers;
}

static void testDefinition(const std::string &path, const interp::Sizes &sizes, int64_t blocks) {
  auto source = mlir::parseSourceFile<mlir::ModuleOp>(path, context());
  std::string name = llvm::sys::path::stem(path).str();
  if (!source)
    return complain(name, "cannot parse");
  RecurrenceOp definition = *source->getOps<RecurrenceOp>().begin();
  check::Case kind;
  kind.tokens = sizes.empty() ? 21 : 40;
  auto problem = check::makeProblem(definition, kind, check::chooseDims(definition, sizes), 5);
  if (!problem)
    return complain(name, llvm::toString(problem.takeError()));
  CompileOptions options;
  options.entry = definition.getSymName().str();
  options.dims = problem->dims;
  options.dtype = "f64";
  options.chunk = sizes.empty() ? 8 : 32;
  options.blocks = blocks;
  options.until = Phase::Kernelize;
  interp::Launch launch;
  launch.tokens = problem->tokens;
  for (bool backward : {false, true}) {
    options.forward = !backward;
    options.backward = backward;
    mlir::OwningOpRef<mlir::ModuleOp> module = source->clone();
    std::string what = name + (backward ? " reverse" : "") + ", blocks " + std::to_string(blocks);
    if (failed(runPhases(*module, options)))
      complain(what, "cannot compile");
    else
      compare(what, *module, givenTo(*module, *problem), launch);
  }
}

int main() {
  for (uint64_t seed = 0; seed < 200; ++seed)
    testRandom(seed);
  std::error_code error;
  std::vector<std::string> paths;
  for (llvm::sys::fs::directory_iterator it(FLA_MODELS, error), end; it != end && !error; it.increment(error))
    paths.push_back(it->path());
  llvm::sort(paths);
  for (const std::string &path : paths)
    for (int64_t blocks : {1, 3})
      testDefinition(path, {}, blocks);
  interp::Sizes wide;
  wide["K"] = 100, wide["V"] = 96;
  for (const char *model : {"gated_delta_rule", "gla"})
    for (int64_t blocks : {1, 2})
      testDefinition(std::string(FLA_MODELS) + model + ".mlir", wide, blocks);
  std::printf("%d kernels, %d failures\n", cases, failures);
  return failures ? 1 : 0;
}
