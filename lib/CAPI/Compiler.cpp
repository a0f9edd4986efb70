//===- Compiler.cpp - from source text to a loaded program ----------------===//
#include "Compiler.h"
#include "fla-c/fla.h"
#include "fla/Dialect/Tile/IR/Tile.h"
#include "fla/Runtime/Cache.h"
#include "fla/Target/CPU/CPU.h"
#include "fla/Target/GPU/GPU.h"
#include <atomic>

using namespace mlir;
using namespace fla;
using namespace fla::capi;
using llvm::json::Array;
using llvm::json::Object;

static std::atomic<int64_t> compilations = 0;
int64_t fla::capi::numCompilations() { return compilations; }

//===----------------------------------------------------------------------===//
// The manifest: what a program takes
//===----------------------------------------------------------------------===//

namespace {
/// Arguments of all kernels of a program, joined by name.
class ManifestBuilder {
public:
  explicit ManifestBuilder(ModuleOp module);
  /// The manifest; `kernels` gets the arguments of each of its rows.
  Object finish(StringRef name, Array kernels);

private:
  struct Argument {
    std::string name, role;
    tile::BufferType type;
    bool written = false, read = false, partial = false, alike = false;
  };
  int64_t indexOf(StringRef name, StringRef role, tile::BufferType type);
  std::vector<Argument> arguments;
  llvm::StringMap<Array> kernelArguments;
  int64_t chunk = 1;
};
} // namespace

int64_t ManifestBuilder::indexOf(StringRef name, StringRef role, tile::BufferType type) {
  for (auto [i, argument] : llvm::enumerate(arguments))
    if (argument.name == name)
      return i;
  arguments.push_back({name.str(), role.str(), type});
  return arguments.size() - 1;
}

/// Whether each block of columns would store all of it: one does, while others may not have begun.
static bool isAlike(tile::KernelOp kernel, BlockArgument buffer) {
  ArrayRef<int64_t> shape = cast<tile::BufferType>(buffer.getType()).getShape();
  return kernel.getBlocks() > 1 && llvm::any_of(buffer.getUsers(), [&](Operation *op) {
    auto store = dyn_cast<tile::StoreOp>(op);
    auto type = store ? dyn_cast<RankedTensorType>(store.getValue().getType()) : RankedTensorType();
    return store && !store.getChunk() && (!type || type.getShape() == shape);
  });
}

ManifestBuilder::ManifestBuilder(ModuleOp module) {
  // The forward and replay kernels run first: they write what reverse ones read.
  SmallVector<tile::KernelOp> kernels(module.getOps<tile::KernelOp>());
  for (tile::KernelOp kernel : kernels) {
    auto roles = kernel->getAttrOfType<ArrayAttr>("roles"), partial = kernel->getAttrOfType<ArrayAttr>("partial");
    // What is saved belongs to the chunks of the kernels with states.
    if (!kernel.getOverChunks() || chunk == 1)
      chunk = kernel.getChunk();
    for (BlockArgument arg : kernel.getBody().getArguments()) {
      unsigned i = arg.getArgNumber();
      int64_t index = indexOf(kernel.getArgName(i), cast<StringAttr>(roles[i]).getValue(), cast<tile::BufferType>(arg.getType()));
      (kernel.getOutputs()[i] ? arguments[index].written : arguments[index].read) = true;
      arguments[index].alike |= isAlike(kernel, arg);
      arguments[index].partial |= cast<BoolAttr>(partial[i]).getValue();
      kernelArguments[kernel.getSymName()].push_back(index);
    }
  }
}

static std::string typeName(Type type) {
  std::string text;
  llvm::raw_string_ostream(text) << type;
  return text;
}

Object ManifestBuilder::finish(StringRef name, Array kernels) {
  Array args;
  for (const Argument &argument : arguments) {
    bool isTemporary = argument.written && argument.read;
    args.push_back(Object{{"name", argument.name},
                          {"role", isTemporary ? "temp" : argument.role},
                          {"kind", tile::stringifyBufferKind(argument.type.getKind())},
                          {"shape", Array(argument.type.getShape())},
                          {"dtype", typeName(argument.type.getElementType())},
                          {"partial", argument.partial},
                          {"alike", argument.alike},
                          {"output", argument.written && !isTemporary}});
  }
  for (llvm::json::Value &value : kernels) {
    Object &kernel = *value.getAsObject();
    kernel["args"] = std::move(kernelArguments[kernel.getString("name").value_or("")]);
  }
  return Object{{"name", name}, {"chunk", chunk}, {"args", std::move(args)}, {"kernels", std::move(kernels)}};
}

static Array describeKernels(const cpu::ObjectCode &code) {
  Array kernels;
  for (const cpu::KernelInfo &info : code.kernels)
    kernels.push_back(Object{
        {"name", info.name}, {"chunk", info.chunk}, {"blocks", info.blocks}, {"over_chunks", info.overChunks}, {"workspace", info.workspaceBytes}});
  return kernels;
}

static Array describeKernels(const gpu::DeviceCode &code) {
  Array kernels;
  for (const gpu::KernelInfo &info : code.kernels)
    kernels.push_back(Object{{"name", info.name},
                             {"chunk", info.chunk},
                             {"blocks", info.blocks},
                             {"over_chunks", info.overChunks},
                             {"threads", info.threads},
                             {"shared", info.shared}});
  return kernels;
}

//===----------------------------------------------------------------------===//
// Compiling and loading
//===----------------------------------------------------------------------===//

/// "cuda:sm_90" as (cuda, sm_90); nothing for the host's processor.
static std::pair<StringRef, StringRef> splitTarget(StringRef target) {
  return target == "cpu" ? std::pair(StringRef(), StringRef()) : target.split(':');
}

static LogicalResult compileForHost(ModuleOp module, StringRef name, runtime::CacheEntry &entry) {
  ManifestBuilder manifest(module);
  auto code = cpu::compileToObject(module);
  if (failed(code))
    return failure();
  entry.manifest = llvm::formatv("{0}", llvm::json::Value(manifest.finish(name, describeKernels(*code))));
  entry.object = std::move(code->object);
  return success();
}

static LogicalResult compileForDevice(ModuleOp module, StringRef name, const CompileOptions &options, runtime::CacheEntry &entry) {
  ManifestBuilder manifest(module);
  module->setAttr("fla.precision", StringAttr::get(module.getContext(), options.precision));
  auto code = gpu::compileToDevice(module, splitTarget(options.target).second);
  if (failed(code))
    return failure();
  Object root = manifest.finish(name, describeKernels(*code));
  root["target"] = options.target;
  root["format"] = code->format;
  entry.manifest = llvm::formatv("{0}", llvm::json::Value(std::move(root)));
  entry.object = std::move(code->bytes);
  return success();
}

static llvm::Expected<runtime::CacheEntry> compileFresh(StringRef text, const CompileOptions &given) {
  CompileOptions options = given;
  options.until = Phase::Kernelize;
  if (options.forward && options.backward)
    return llvm::createStringError("option 'direction': expected 'forward' or 'backward' to compile a program");
  auto source = Source::parse(text, options.entry);
  if (!source)
    return source.takeError();
  ModuleOp module = (*source)->getModule();
  std::string name;
  for (Operation &op : module.getOps())
    if (auto symbol = op.getAttrOfType<StringAttr>(SymbolTable::getSymbolAttrName()))
      name = symbol.str();
  runtime::CacheEntry entry;
  llvm::Error error = (*source)->run([&]() -> LogicalResult {
    if (failed(runPhases(module, options)))
      return failure();
    return options.target == "cpu" ? compileForHost(module, name, entry) : compileForDevice(module, name, options, entry);
  });
  if (error)
    return std::move(error);
  ++compilations;
  return entry;
}

static std::vector<int64_t> argumentsOf(const Object &kernel) {
  std::vector<int64_t> indices;
  if (const Array *arguments = kernel.getArray("args"))
    for (const llvm::json::Value &index : *arguments)
      indices.push_back(index.getAsInteger().value_or(0));
  return indices;
}

static llvm::Error loadForHost(Program &program, StringRef object, const Array &kernels) {
  auto code = runtime::LoadedObject::load(object);
  if (!code)
    return code.takeError();
  program.code = std::move(*code);
  for (const llvm::json::Value &value : kernels) {
    const Object &info = *value.getAsObject();
    auto function = program.code->lookup(info.getString("name").value_or(""));
    if (!function)
      return function.takeError();
    runtime::Kernel kernel{*function, info.getInteger("chunk").value_or(1), info.getInteger("blocks").value_or(1),
                           info.getBoolean("over_chunks").value_or(false), info.getInteger("workspace").value_or(0)};
    program.calls.push_back({kernel, argumentsOf(info)});
  }
  return llvm::Error::success();
}

/// No driver is asked yet: a program compiles where there is no device.
static void loadForDevice(Program &program, std::string bytes, StringRef target, StringRef format, const Array &kernels) {
  std::vector<runtime::DeviceKernel> all;
  for (const llvm::json::Value &value : kernels) {
    const Object &info = *value.getAsObject();
    all.push_back({info.getString("name").value_or("").str(), info.getInteger("threads").value_or(1), info.getInteger("shared").value_or(0),
                   info.getInteger("chunk").value_or(1), info.getInteger("blocks").value_or(1), info.getBoolean("over_chunks").value_or(false),
                   argumentsOf(info)});
  }
  auto [vendor, chip] = splitTarget(target);
  runtime::DeviceCode code{vendor.str(), chip.str(), format.str(), std::move(bytes)};
  program.device = std::make_unique<runtime::DeviceProgram>(std::move(code), std::move(all));
}

static llvm::Expected<std::unique_ptr<Program>> load(runtime::CacheEntry entry, bool cached) {
  auto manifest = llvm::json::parse(entry.manifest);
  if (!manifest)
    return manifest.takeError();
  auto program = std::make_unique<Program>();
  Object *root = manifest->getAsObject();
  auto *args = root ? root->getArray("args") : nullptr, *kernels = root ? root->getArray("kernels") : nullptr;
  if (!args || !kernels)
    return llvm::createStringError("a cached program has no arguments");
  for (const llvm::json::Value &arg : *args)
    program->names.push_back(arg.getAsObject()->getString("name").value_or("").str());
  if (auto target = root->getString("target"))
    loadForDevice(*program, std::move(entry.object), *target, root->getString("format").value_or(""), *kernels);
  else if (llvm::Error error = loadForHost(*program, entry.object, *kernels))
    return std::move(error);
  if (!program->device)
    root->erase("kernels");
  (*root)["cached"] = cached;
  program->manifest = llvm::formatv("{0}", *manifest);
  return program;
}

llvm::Expected<std::unique_ptr<Program>> fla::capi::compile(StringRef source, StringRef optionsText) {
  auto options = parseOptions(optionsText);
  if (!options)
    return options.takeError();
  std::string machine = options->target == "cpu" ? cpu::hostDescription() : options->target;
  std::string key = runtime::cacheKey({fla_version(), machine, source.str(), optionsText.str()});
  if (auto entry = runtime::readCache(key)) {
    auto program = load(std::move(*entry), /*cached=*/true);
    if (program)
      return program;
    llvm::consumeError(program.takeError());
  }
  auto entry = compileFresh(source, *options);
  if (!entry)
    return entry.takeError();
  runtime::writeCache(key, *entry);
  return load(std::move(*entry), /*cached=*/false);
}
