//===- Pipelines.cpp - the phases, in order -------------------------------===//
#include "fla/Pipelines/Pipelines.h"
#include "fla/Conversion/ChunkToTile/Passes.h"
#include "fla/Conversion/FLAToChunk/Passes.h"
#include "fla/Dialect/Chunk/IR/SplitDim.h"
#include "fla/Dialect/Chunk/Transforms/Passes.h"
#include "fla/Dialect/FLA/IR/FLA.h"
#include "fla/Dialect/FLA/Transforms/Passes.h"
#include "fla/Dialect/Tile/IR/Tile.h"
#include "fla/Dialect/Tile/Transforms/Passes.h"
#include "fla/Support/Knobs.h"
#include "fla/Target/CPU/CPU.h"
#include "fla/Target/GPU/GPU.h"
#include "fla/Target/GPU/Serialize.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/Support/FileSystem.h"

using namespace mlir;
using namespace fla;

//===----------------------------------------------------------------------===//
// Phases
//===----------------------------------------------------------------------===//

static constexpr StringLiteral kPhases[] = {"define", "normalize", "chunk", "differentiate", "kernelize", "layout", "target"};

StringRef fla::phaseName(Phase phase) { return kPhases[static_cast<int>(phase)]; }

std::optional<Phase> fla::parsePhase(StringRef name) {
  for (auto [i, phase] : llvm::enumerate(kPhases))
    if (phase == name)
      return static_cast<Phase>(i);
  return std::nullopt;
}

static void cleanUp(OpPassManager &pm) {
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
}

static void addNormalize(OpPassManager &pm, const CompileOptions &options) {
  SpecializeRecurrenceOptions specialize;
  specialize.absent.assign(options.absent.begin(), options.absent.end());
  pm.addPass(createSpecializeRecurrence(specialize));
  pm.addPass(createCSEPass());
  pm.addPass(createNormalizeRecurrence());
  cleanUp(pm);
}

/// Bytes that the threads of a block share on a GPU target; 0 on the CPU.
static int64_t sharedBytesOf(const CompileOptions &options) {
  const gpu::Chip *chip = gpu::findChip(StringRef(options.target).split(':').second);
  return chip ? chip->sharedBytes : 0;
}

/// `dims` as passes take it: K:128.
static SmallVector<std::string> dimsOf(const CompileOptions &options) {
  SmallVector<std::string> dims;
  for (auto &entry : options.dims)
    dims.push_back((entry.getKey() + ":" + Twine(entry.getValue())).str());
  llvm::sort(dims);
  return dims;
}

/// Whether kernels over chunks do what depends on no state.
static bool dividesLoops(const CompileOptions &options) { return sharedBytesOf(options) && options.form == "chunk"; }

static void addChunk(OpPassManager &pm, const CompileOptions &options) {
  pm.addPass(createFormChunks());
  cleanUp(pm);
  if (int64_t shared = sharedBytesOf(options); dividesLoops(options)) {
    DistributeOptions distribute;
    llvm::append_range(distribute.dims, dimsOf(options));
    distribute.largest = chunk::largestState(shared);
    pm.addPass(createDistribute(distribute));
    cleanUp(pm);
  }
  if (options.blocks > 1) {
    DistributeOptions distribute;
    distribute.ifNeeded = dividesLoops(options) && !options.backward; // a kernel over chunks does what blocks share
    pm.addPass(createDistribute(distribute));
    cleanUp(pm);
  }
}

static void addDifferentiate(OpPassManager &pm, const CompileOptions &options) {
  if (!options.backward)
    return;
  DifferentiateOptions differentiate;
  if (!options.forward)
    differentiate.forward = options.saveStates && options.blocks <= 1 ? "drop" : "replay";
  pm.addPass(createDifferentiate(differentiate));
  cleanUp(pm);
}

static void addKernelize(OpPassManager &pm, const CompileOptions &options) {
  KernelizeOptions kernelize;
  llvm::append_range(kernelize.dims, dimsOf(options));
  for (auto &entry : options.dtypes)
    kernelize.dtypes.push_back((entry.getKey() + ":" + entry.getValue()).str());
  kernelize.dtype = options.dtype;
  kernelize.chunk = options.form == "recurrent" ? 1 : options.chunk;
  kernelize.blocks = options.blocks;
  kernelize.shared = sharedBytesOf(options);
  kernelize.saveStates = options.forward && options.saveStates;
  pm.addPass(createKernelize(kernelize));
  pm.addPass(createFormSteps());
  pm.addPass(createSimplifyTiles());
  if (dividesLoops(options)) {
    pm.addPass(createHoistScales());
    pm.addPass(createFissionLeaves());
    pm.addPass(createFissionLoops());
    pm.addPass(createSimplifyTiles());
    pm.addPass(createFissionChunks());
  }
}

/// The chip of a GPU target ("cuda:sm_90"), empty for the CPU, whose tiles lie in memory row by row.
static StringRef chipOf(const CompileOptions &options) { return StringRef(options.target).split(':').second; }

static void addLayout(OpPassManager &pm, const CompileOptions &options) {
  if (StringRef chip = chipOf(options); !chip.empty())
    gpu::buildLayoutPasses(pm, chip, options.precision);
}

static void addTarget(OpPassManager &pm, const CompileOptions &options) {
  if (StringRef chip = chipOf(options); !chip.empty())
    gpu::buildTargetPasses(pm, chip);
  else
    pm.addPass(createConvertTileToLLVM());
}

/// The passes of one phase; nothing for `define`.
static void addPhase(OpPassManager &pm, Phase phase, const CompileOptions &options) {
  switch (phase) {
  case Phase::Define:
    return;
  case Phase::Normalize:
    return addNormalize(pm, options);
  case Phase::Chunk:
    return addChunk(pm, options);
  case Phase::Differentiate:
    return addDifferentiate(pm, options);
  case Phase::Kernelize:
    return addKernelize(pm, options);
  case Phase::Layout:
    return addLayout(pm, options);
  case Phase::Target:
    return addTarget(pm, options);
  }
}

static SmallVector<Phase> phasesOf(const CompileOptions &options) {
  SmallVector<Phase> phases;
  for (int phase = 0; phase <= static_cast<int>(options.until); ++phase)
    phases.push_back(static_cast<Phase>(phase));
  return phases;
}

void fla::buildPipeline(OpPassManager &pm, const CompileOptions &options) {
  for (Phase phase : phasesOf(options))
    addPhase(pm, phase, options);
}

/// Writes the IR after a phase to FLA_DUMP_DIR/<definition>-<direction>-<number>-<phase>.mlir.
static void dumpPhase(ModuleOp module, StringRef definition, Phase phase, const CompileOptions &options) {
  std::string folder = knobs::dumpDirectory();
  if (folder.empty())
    return;
  StringRef direction = !options.backward ? "forward" : !options.forward ? "backward" : "both";
  std::string path = (folder + "/" + definition + "-" + direction + "-" + Twine(static_cast<int>(phase)) + "-" + phaseName(phase) + ".mlir").str();
  std::error_code error = llvm::sys::fs::create_directories(folder);
  if (!error) {
    llvm::raw_fd_ostream os(path, error);
    if (!error)
      module.print(os);
  }
  if (error)
    llvm::errs() << "warning: cannot write '" << path << "': " << error.message() << "\n";
}

static std::string definitionName(ModuleOp module) {
  for (RecurrenceOp definition : module.getOps<RecurrenceOp>())
    return definition.getSymName().str();
  return "module";
}

LogicalResult fla::runPhases(ModuleOp module, const CompileOptions &options) {
  std::string name = definitionName(module);
  for (Phase phase : phasesOf(options)) {
    PassManager pm(module.getContext());
    addPhase(pm, phase, options);
    if (failed(pm.run(module)))
      return failure();
    dumpPhase(module, name, phase, options);
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Options as text
//===----------------------------------------------------------------------===//

static llvm::Error badOption(const Twine &text) { return llvm::createStringError("option " + text); }

static llvm::Error readOption(StringRef key, const llvm::json::Value &value, CompileOptions &options) {
  auto string = value.getAsString();
  auto requireString = [&](std::string &into) -> llvm::Error {
    if (!string)
      return badOption("'" + key + "': expected a string");
    into = string->str();
    return llvm::Error::success();
  };
  if (key == "target" || key == "entry" || key == "dtype" || key == "form")
    return requireString(key == "target" ? options.target : key == "entry" ? options.entry : key == "dtype" ? options.dtype : options.form);
  if (key == "dims" || key == "dtypes") {
    auto *object = value.getAsObject();
    if (!object)
      return badOption("'" + key + "': expected an object");
    for (auto &entry : *object) {
      auto number = entry.second.getAsInteger();
      auto text = entry.second.getAsString();
      if (key == "dims" && number)
        options.dims[entry.first] = *number;
      else if (key == "dtypes" && text)
        options.dtypes[entry.first] = text->str();
      else
        return badOption("'" + key + "': expected " + (key == "dims" ? "integers" : "strings"));
    }
    return llvm::Error::success();
  }
  if (key == "absent") {
    auto *array = value.getAsArray();
    if (!array)
      return badOption("'absent': expected an array of names");
    for (const llvm::json::Value &name : *array)
      options.absent.push_back(name.getAsString().value_or("").str());
    return llvm::Error::success();
  }
  if (key == "chunk" || key == "blocks") {
    auto number = value.getAsInteger();
    if (!number || *number < 0)
      return badOption("'" + key + "': expected a non-negative integer");
    (key == "chunk" ? options.chunk : options.blocks) = *number;
    return llvm::Error::success();
  }
  if (key == "direction" && string && (*string == "forward" || *string == "backward" || *string == "both")) {
    options.forward = *string != "backward";
    options.backward = *string != "forward";
    return llvm::Error::success();
  }
  if (key == "precision" && string && (*string == "ieee" || *string == "tf32")) {
    options.precision = string->str();
    return llvm::Error::success();
  }
  if (key == "states" && string && (*string == "save" || *string == "recompute")) {
    options.saveStates = *string == "save";
    return llvm::Error::success();
  }
  if (key == "until" && string && parsePhase(*string)) {
    options.until = *parsePhase(*string);
    return llvm::Error::success();
  }
  if (key == "direction" || key == "precision" || key == "states" || key == "until")
    return badOption("'" + key + "': unexpected value; see fla-c/fla.h");
  return badOption("'" + key + "' is unknown; see fla-c/fla.h");
}

llvm::Error fla::checkOptions(const CompileOptions &options) {
  auto [vendor, chip] = StringRef(options.target).split(':');
  bool isGPU = (vendor == "cuda" || vendor == "hip") && !chip.empty();
  if (options.target != "cpu" && !isGPU)
    return badOption("'target': expected 'cpu', 'cuda:' and a chip (cuda:sm_90) or 'hip:' and a chip (hip:gfx942), got '" + options.target + "'");
  if (options.form != "chunk" && options.form != "recurrent")
    return badOption("'form': expected 'chunk' or 'recurrent', got '" + options.form + "'");
  return llvm::Error::success();
}

llvm::Expected<CompileOptions> fla::parseOptions(StringRef json) {
  CompileOptions options;
  auto parsed = llvm::json::parse(json.empty() ? "{}" : json);
  if (!parsed)
    return parsed.takeError();
  auto *object = parsed->getAsObject();
  if (!object)
    return llvm::createStringError("expected options as a JSON object");
  for (auto &entry : *object)
    if (llvm::Error error = readOption(entry.first, entry.second, options))
      return std::move(error);
  if (llvm::Error error = checkOptions(options))
    return std::move(error);
  return options;
}

//===----------------------------------------------------------------------===//
// fla-opt --fla-compile
//===----------------------------------------------------------------------===//

namespace {
struct PipelineOptions : PassPipelineOptions<PipelineOptions> {
  Option<std::string> target{*this, "target", llvm::cl::desc("cpu, cuda:sm_90, hip:gfx942, ..."), llvm::cl::init("cpu")};
  ListOption<std::string> dims{*this, "dims", llvm::cl::desc("sizes, as K:128,V:128")};
  Option<std::string> dtype{*this, "dtype", llvm::cl::desc("storage type: f64, f32, bf16, f16"), llvm::cl::init("f32")};
  Option<std::string> form{*this, "form", llvm::cl::desc("chunk or recurrent"), llvm::cl::init("chunk")};
  Option<bool> grad{*this, "grad", llvm::cl::desc("compile the backward too"), llvm::cl::init(true)};
  ListOption<std::string> absent{*this, "absent", llvm::cl::desc("inputs that take their default")};
  Option<int64_t> chunk{*this, "chunk", llvm::cl::desc("tokens a chunk, 0 to choose"), llvm::cl::init(0)};
  Option<int64_t> blocks{*this, "blocks", llvm::cl::desc("column blocks of the grid, at most"), llvm::cl::init(1)};
  Option<bool> saveStates{*this, "save-states", llvm::cl::desc("the forward saves states for the backward"), llvm::cl::init(false)};
  Option<std::string> until{*this, "until", llvm::cl::desc("last phase: define, normalize, chunk, differentiate, kernelize, layout, target"),
                            llvm::cl::init("target")};
};
} // namespace

static LogicalResult readPipelineOptions(const PipelineOptions &given, CompileOptions &options) {
  auto fail = [](const Twine &text) {
    llvm::errs() << "fla-compile: " << text << "\n";
    return failure();
  };
  for (StringRef entry : given.dims) {
    auto [name, number] = entry.split(':');
    if (number.getAsInteger(10, options.dims[name]))
      return fail("expected dims as NAME:SIZE, got '" + entry + "'");
  }
  options.target = given.target;
  options.dtype = given.dtype;
  options.form = given.form;
  options.backward = given.grad;
  options.absent.assign(given.absent.begin(), given.absent.end());
  options.chunk = given.chunk;
  options.blocks = given.blocks;
  options.saveStates = given.saveStates;
  auto phase = parsePhase(given.until);
  if (!phase)
    return fail("expected until = define, normalize, chunk, differentiate, kernelize, layout or target, got '" + given.until + "'");
  options.until = *phase;
  if (llvm::Error error = checkOptions(options))
    return fail(llvm::toString(std::move(error)));
  return success();
}

namespace {
/// Reports options that make no sense when the pipeline runs.
struct RejectOptions : PassWrapper<RejectOptions, OperationPass<ModuleOp>> {
  void runOnOperation() override { signalPassFailure(); }
};
} // namespace

void fla::registerDialects(DialectRegistry &registry) {
  registry.insert<FLADialect, chunk::ChunkDialect, tile::TileDialect, arith::ArithDialect, math::MathDialect, scf::SCFDialect,
                  tensor::TensorDialect, LLVM::LLVMDialect, vector::VectorDialect>();
  gpu::registerDeviceDialects(registry);
}

void fla::registerPasses() {
  registerFLAPasses();
  registerFLAToChunkPasses();
  registerChunkPasses();
  registerChunkToTilePasses();
  registerTilePasses();
  registerFLATargetGPUPasses();
  registerConvertTileToLLVM();
  PassPipelineRegistration<PipelineOptions>("fla-compile", "Compiles definitions up to a phase", [](OpPassManager &pm, const PipelineOptions &given) {
    CompileOptions options;
    if (failed(readPipelineOptions(given, options)))
      pm.addPass(std::make_unique<RejectOptions>());
    else
      buildPipeline(pm, options);
  });
}
