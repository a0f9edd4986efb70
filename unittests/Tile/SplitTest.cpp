//===- SplitTest.cpp - states in blocks give what whole ones give ---------===//
//
// Every definition of the library, forward and reverse: compiled whole, and with
// little room, so that states are cut by columns or rows and kernels without states
// choose their chunks. The tile interpreter gets the same results from both, and
// again once tiles are padded.
//
//===----------------------------------------------------------------------===//
#include "Roles.h"
#include "Rungs.h"
#include "fla/Conversion/ChunkToTile/Passes.h"
#include "fla/Dialect/Chunk/Transforms/Passes.h"
#include "fla/Dialect/Tile/Transforms/Passes.h"
#include "fla/Interpreter/Kernels.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include <cmath>
#include <cstdio>
#include <set>

using namespace fla;

static int failures = 0, cases = 0, cut = 0;

static void complain(const std::string &name, const std::string &what) {
  ++failures;
  std::printf("FAIL %s: %s\n", name.c_str(), what.c_str());
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

using Results = std::map<std::string, std::vector<double>>;

/// Adds the shares of blocks, which lie side by side in each row, and pieces of a gradient (`d_k@program`).
static void collect(const std::string &name, const std::vector<double> &data, int64_t shares, int64_t inner, Results &results) {
  std::vector<double> &sum = results[name.substr(0, name.find('@'))];
  sum.resize(data.size() / shares);
  for (size_t i = 0; i < data.size(); ++i)
    sum[i / (shares * inner) * inner + i % inner] += data[i];
}

static bool isResult(llvm::StringRef role) { return role == "output" || role == "final_state" || role == "d_input" || role == "d_initial_state"; }

/// What the caller of a module's kernels gets.
static llvm::Expected<Results> run(mlir::ModuleOp module, const check::Problem &problem) {
  interp::Buffers buffers;
  interp::Launch launch;
  launch.tokens = problem.tokens;
  std::set<std::string> read;
  auto forEach = [&](auto f) {
    for (tile::KernelOp kernel : module.getOps<tile::KernelOp>())
      for (auto [i, argument] : llvm::enumerate(kernel.getBody().getArguments())) {
        auto role = mlir::cast<mlir::StringAttr>(kernel->getAttrOfType<mlir::ArrayAttr>("roles")[i]).getValue();
        bool partial = mlir::cast<mlir::BoolAttr>(kernel->getAttrOfType<mlir::ArrayAttr>("partial")[i]).getValue();
        f(kernel.getArgName(i).str(), role, partial, bool(kernel.getOutputs()[i]), mlir::cast<tile::BufferType>(argument.getType()));
      }
  };
  forEach([&](const std::string &name, llvm::StringRef role, bool, bool written, tile::BufferType) {
    if (!written)
      read.insert(name);
    if (auto value = check::givenValue(role, name, problem))
      buffers[name] = {value->data, 1};
  });
  if (llvm::Error error = interp::runKernels(module, buffers, launch))
    return std::move(error);
  Results results;
  forEach([&](const std::string &name, llvm::StringRef role, bool partial, bool written, tile::BufferType type) {
    if (!written || !isResult(role) || read.count(name))
      return;
    int64_t inner = 1, shares = partial ? type.getShape().front() : 1;
    for (int64_t size : type.getShape().drop_front(partial))
      inner *= size;
    collect(name, buffers[name].data, shares, inner, results);
  });
  return results;
}

static void compare(const std::string &name, const Results &got, const Results &want) {
  for (auto &[result, values] : want) {
    auto it = got.find(result);
    if (it == got.end() || it->second.size() != values.size()) {
      complain(name, "no " + result);
      continue;
    }
    double difference = 0, norm = 0;
    for (size_t i = 0; i < values.size(); ++i) {
      difference += (it->second[i] - values[i]) * (it->second[i] - values[i]);
      norm += values[i] * values[i];
    }
    double error = std::sqrt(difference) / (std::sqrt(norm) + 1e-6 * std::sqrt(double(values.size())));
    if (!(error <= 1e-9))
      complain(name, result + ": error " + std::to_string(error));
  }
}

/// The passes that a GPU with little room takes, from the definition to kernels.
static mlir::LogicalResult compileSmall(mlir::ModuleOp module, CompileOptions options, bool backward) {
  constexpr int64_t kShared = 8 << 10; // bytes: states of 1024 elements
  options.until = Phase::Chunk;
  if (failed(runPhases(module, options)))
    return mlir::failure();
  mlir::PassManager passes(module.getContext());
  DistributeOptions distribute;
  KernelizeOptions kernelize;
  for (auto &entry : options.dims)
    distribute.dims.push_back((entry.getKey() + ":" + llvm::Twine(entry.getValue())).str());
  llvm::append_range(kernelize.dims, distribute.dims);
  distribute.largest = kShared / 8;
  passes.addPass(createDistribute(distribute));
  passes.addPass(mlir::createCSEPass());
  if (backward)
    passes.addPass(createDifferentiate({"replay"}));
  passes.addPass(mlir::createCanonicalizerPass());
  kernelize.dtype = "f64";
  kernelize.shared = kShared;
  passes.addPass(createKernelize(kernelize));
  passes.addPass(createSimplifyTiles());
  return passes.run(module);
}

static void testDefinition(const std::string &path) {
  auto source = mlir::parseSourceFile<mlir::ModuleOp>(path, context());
  std::string stem = llvm::sys::path::stem(path).str();
  if (!source)
    return complain(stem, "cannot parse");
  RecurrenceOp definition = *source->getOps<RecurrenceOp>().begin();
  bool flattens = false;
  definition.walk([&](FlattenOp) { flattens = true; });
  interp::Sizes sizes;
  sizes["K"] = sizes["N"] = 48;
  sizes["V"] = sizes["P"] = 47; // in unequal blocks
  sizes["M"] = 16, sizes["R"] = 24, sizes["D"] = flattens ? 10 : 12;
  check::Case kind;
  kind.tokens = 21;
  auto problem = check::makeProblem(definition, kind, check::chooseDims(definition, sizes), 5);
  if (!problem)
    return complain(stem, llvm::toString(problem.takeError()));
  CompileOptions options;
  options.entry = definition.getSymName().str();
  options.dims = problem->dims;
  options.dtype = "f64";
  for (bool backward : {false, true}) {
    ++cases;
    std::string name = stem + (backward ? " reverse" : "");
    options.forward = !backward;
    options.backward = backward;
    options.until = Phase::Kernelize;
    mlir::OwningOpRef<mlir::ModuleOp> whole = source->clone(), small = source->clone();
    if (failed(runPhases(*whole, options)) || failed(compileSmall(*small, options, backward))) {
      complain(name, "cannot compile");
      continue;
    }
    bool isCut = llvm::any_of(small->getOps<tile::KernelOp>(), [](tile::KernelOp kernel) { return kernel.getBlocks() > 1; });
    cut += isCut;
    auto want = run(*whole, *problem), got = run(*small, *problem);
    if (!want || !got) {
      complain(name, !want ? llvm::toString(want.takeError()) : llvm::toString(got.takeError()));
      continue;
    }
    compare(name + (isCut ? " in blocks" : ""), *got, *want);
    mlir::PassManager pad(context());
    pad.addPass(createPadTiles());
    llvm::Expected<Results> padded =
        failed(pad.run(*small)) ? llvm::Expected<Results>(llvm::createStringError("fla-pad-tiles fails")) : run(*small, *problem);
    if (!padded)
      complain(name, llvm::toString(padded.takeError()));
    else
      compare(name + ", padded", *padded, *want);
  }
}

int main() {
  std::error_code error;
  std::vector<std::string> paths;
  for (llvm::sys::fs::directory_iterator it(FLA_MODELS, error), end; it != end && !error; it.increment(error))
    paths.push_back(it->path());
  llvm::sort(paths);
  for (const std::string &path : paths)
    testDefinition(path);
  std::printf("%d programs, %d of them in blocks, %d failures\n", cases, cut, failures);
  return failures ? 1 : 0;
}
