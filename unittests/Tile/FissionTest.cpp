//===- FissionTest.cpp - kernels in two parts give what one gives ---------===//
//
// Every definition of the library, forward, with its states saved, and reverse: what
// the tile interpreter gets of the kernels as the CPU has them, and of those that a
// GPU gets, with factors behind products and a kernel over chunks before the loop, and
// with those divided further;
// for one sequence and for packed ones, whole, in blocks of columns, and padded.
//
//===----------------------------------------------------------------------===//
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
#include <set>

using namespace fla;

static int failures = 0, cases = 0, divided = 0, more = 0;

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

namespace {
struct Trial {
  std::string name;
  CompileOptions options;
  const check::Problem &problem;
  interp::Launch launch;
};
using Results = std::map<std::string, std::vector<double>>;
} // namespace

template <class F> static void forEachArgument(mlir::ModuleOp module, F f) {
  for (tile::KernelOp kernel : module.getOps<tile::KernelOp>()) {
    auto roles = kernel->getAttrOfType<mlir::ArrayAttr>("roles"), partial = kernel->getAttrOfType<mlir::ArrayAttr>("partial");
    for (auto [i, argument] : llvm::enumerate(kernel.getBody().getArguments()))
      f(kernel.getArgName(i).str(), mlir::cast<mlir::StringAttr>(roles[i]).getValue(), mlir::cast<mlir::BoolAttr>(partial[i]).getValue(),
        bool(kernel.getOutputs()[i]), mlir::cast<tile::BufferType>(argument.getType()));
  }
}

/// Adds the shares of blocks, which lie side by side in each row, and pieces of a gradient (`d_k@program`).
static void collect(const std::string &name, const std::vector<double> &data, bool partial, tile::BufferType type, Results &results) {
  int64_t inner = 1, shares = partial ? type.getShape().front() : 1;
  for (int64_t size : type.getShape().drop_front(partial))
    inner *= size;
  std::vector<double> &sum = results[name.substr(0, name.find('@'))];
  sum.resize(data.size() / shares);
  for (size_t i = 0; i < data.size(); ++i)
    sum[i / (shares * inner) * inner + i % inner] += data[i];
}

/// What the caller of a module's kernels gets. Sequences begin and end with the same states.
static llvm::Expected<Results> run(mlir::ModuleOp module, const Trial &trial) {
  interp::Buffers buffers;
  std::set<std::string> read;
  forEachArgument(module, [&](const std::string &name, llvm::StringRef role, bool, bool written, tile::BufferType type) {
    if (!written)
      read.insert(name);
    auto value = check::givenValue(role, name, trial.problem);
    if (!value || buffers.count(name))
      return;
    interp::HostBuffer &buffer = buffers[name];
    int64_t copies = type.getKind() == tile::BufferKind::state ? trial.launch.numSequences() : 1;
    for (int64_t n = 0; n < copies; ++n)
      buffer.data.insert(buffer.data.end(), value->data.begin(), value->data.end());
  });
  if (llvm::Error error = interp::runKernels(module, buffers, trial.launch))
    return std::move(error);
  Results results;
  forEachArgument(module, [&](const std::string &name, llvm::StringRef role, bool partial, bool written, tile::BufferType type) {
    if (written && role != "temp" && !(read.count(name) && role != "saved") && (role != "saved" || trial.options.saveStates))
      collect(name, buffers[name].data, partial, type, results);
  });
  return results;
}

/// Slots that no chunk takes hold no number in both.
static double relativeError(const std::vector<double> &got, const std::vector<double> &want) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    bool same = got[i] == want[i] || (std::isnan(got[i]) && std::isnan(want[i]));
    difference += same ? 0 : (got[i] - want[i]) * (got[i] - want[i]);
    norm += std::isfinite(want[i]) ? want[i] * want[i] : 0;
  }
  return std::sqrt(difference) / (std::sqrt(norm) + 1e-6 * std::sqrt(double(want.size())));
}

static void compare(const std::string &name, llvm::Expected<Results> got, const Results &want) {
  if (!got)
    return complain(name, llvm::toString(got.takeError()));
  for (auto &[result, values] : want) {
    auto it = got->find(result);
    if (it == got->end() || it->second.size() != values.size())
      complain(name, "no " + result);
    else if (double error = relativeError(it->second, values); !(error <= 1e-9))
      complain(name, result + ": error " + std::to_string(error));
  }
}

static void test(mlir::ModuleOp source, Trial trial) {
  ++cases;
  mlir::OwningOpRef<mlir::ModuleOp> whole = source.clone(), parts = source.clone();
  CompileOptions simple = trial.options;
  simple.blocks = 1;
  trial.options.target = "cuda:sm_90";
  if (failed(runPhases(*whole, simple)) || failed(runPhases(*parts, trial.options)))
    return complain(trial.name, "cannot compile");
  bool isDivided = llvm::any_of(parts->getOps<tile::KernelOp>(), [](tile::KernelOp kernel) { return kernel.getSymName().ends_with("_chunks"); });
  divided += isDivided;
  auto want = run(*whole, trial);
  if (!want)
    return complain(trial.name, llvm::toString(want.takeError()));
  compare(trial.name, run(*parts, trial), *want);
  mlir::PassManager finer(context());
  FissionChunksOptions shorter;
  shorter.longest = shorter.longestCrowded = 300;
  finer.addPass(createFissionChunks(shorter));
  if (failed(finer.run(*parts)))
    return complain(trial.name, "fla-fission-chunks fails");
  more += llvm::any_of(parts->getOps<tile::KernelOp>(), [](tile::KernelOp kernel) { return kernel.getSymName().contains("_part"); });
  compare(trial.name + ", finer", run(*parts, trial), *want);
  mlir::PassManager pad(context());
  pad.addPass(createPadTiles());
  if (failed(pad.run(*parts)))
    return complain(trial.name, "fla-pad-tiles fails");
  compare(trial.name + ", padded", run(*parts, trial), *want);
}

static void testDefinition(const std::string &path) {
  auto source = mlir::parseSourceFile<mlir::ModuleOp>(path, context());
  std::string stem = llvm::sys::path::stem(path).str();
  if (!source)
    return complain(stem, "cannot parse");
  RecurrenceOp definition = *source->getOps<RecurrenceOp>().begin();
  check::Case kind;
  kind.gates = check::Gates::Strong;
  kind.tokens = 21;
  auto problem = check::makeProblem(definition, kind, check::chooseDims(definition, {}), 5);
  if (!problem)
    return complain(stem, llvm::toString(problem.takeError()));
  CompileOptions options;
  options.entry = definition.getSymName().str();
  options.dims = problem->dims;
  options.dtype = "bf16"; // the interpreter computes in doubles
  options.chunk = 8;
  options.until = Phase::Kernelize;
  interp::Launch one, packed;
  one.tokens = packed.tokens = problem->tokens;
  packed.offsets = {0, 3, 3, 11, 20};
  for (auto [direction, saves] : {std::pair("forward", false), std::pair("forward", true), std::pair("reverse", false)})
    for (int64_t blocks : {1, 2})
      for (const interp::Launch &launch : {one, packed}) {
        options.forward = llvm::StringRef(direction) == "forward";
        options.backward = !options.forward;
        options.saveStates = saves;
        options.blocks = blocks;
        std::string name =
            stem + " " + direction + (saves ? " with states" : "") + (launch.offsets.empty() ? "" : ", packed") + (blocks > 1 ? ", in blocks" : "");
        test(*source, {name, options, *problem, launch});
      }
}

int main(int argc, char **argv) {
  std::error_code error;
  std::vector<std::string> paths;
  for (llvm::sys::fs::directory_iterator it(FLA_MODELS, error), end; it != end && !error; it.increment(error))
    if (argc < 2 || llvm::sys::path::stem(it->path()) == argv[1])
      paths.push_back(it->path());
  llvm::sort(paths);
  for (const std::string &path : paths)
    testDefinition(path);
  if (argc < 2 && (!divided || !more))
    complain("all definitions", "none is divided");
  std::printf("%d programs, %d of them divided, %d with their kernels over chunks divided further, %d failures\n", cases, divided, more, failures);
  return failures ? 1 : 0;
}
