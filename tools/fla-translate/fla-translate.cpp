//===- fla-translate.cpp - definitions to LLVM IR, object files, GPU code -===//
#include "fla/Pipelines/Pipelines.h"
#include "fla/Target/CHeader/CHeader.h"
#include "fla/Target/CPU/CPU.h"
#include "fla/Target/GPU/GPU.h"
#include "fla/Target/GPU/Serialize.h"

#include "fla/Dialect/Tile/IR/Tile.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "mlir/Tools/mlir-translate/MlirTranslateMain.h"
#include "mlir/Tools/mlir-translate/Translation.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using namespace fla;
namespace cl = llvm::cl;

namespace mlir {
void registerToLLVMIRTranslation();
void registerFromLLVMIRTranslation();
} // namespace mlir

static cl::OptionCategory category("fla-translate options");
static cl::list<std::string> dims("dims", cl::CommaSeparated,
                                  cl::desc("Sizes of dimensions, for instance K:128,V:128 (K and V default to 128, others to 64)"),
                                  cl::value_desc("name:size"), cl::cat(category));
static cl::opt<std::string> dtype("dtype", cl::desc("Storage type of inputs and outputs: f64, f32 (default), bf16, f16"), cl::init("f32"),
                                  cl::value_desc("type"), cl::cat(category));
static cl::list<std::string> dtypes("dtypes", cl::CommaSeparated, cl::desc("Storage types of single arguments, for instance q:bf16"),
                                    cl::value_desc("name:type"), cl::cat(category));
static cl::opt<std::string> form("form", cl::desc("chunk (default) or recurrent"), cl::init("chunk"), cl::value_desc("form"), cl::cat(category));
static cl::opt<bool> grad("grad", cl::desc("Compile the backward too (default true); the forward then saves a state for each chunk"), cl::init(true),
                          cl::cat(category));
static cl::list<std::string> absent("absent", cl::CommaSeparated, cl::desc("Inputs that take their default"), cl::value_desc("name"),
                                    cl::cat(category));
static cl::opt<int64_t> chunk("chunk", cl::desc("Tokens a chunk, a power of two (default: chosen)"), cl::init(0), cl::value_desc("n"),
                              cl::cat(category));
static cl::opt<std::string> header("header", cl::desc("Where --fla-to-object writes the C header (default: beside -o, with the ending .h)"),
                                   cl::value_desc("file"), cl::cat(category));

static const std::string chipHelp = "The GPU that --fla-to-ptx, --fla-to-cubin or --fla-to-hsaco compiles for: " + gpu::chipNames();
static cl::opt<std::string> chipName("chip", cl::desc(chipHelp), cl::value_desc("name"), cl::cat(category));
static cl::opt<bool> resources("resources", cl::desc("Print the registers, shared memory, spills and occupancy of GPU kernels on standard error"),
                               cl::init(false), cl::cat(category));

static constexpr char kOverview[] = "fla-translate: definitions to LLVM IR, object files and code for GPUs\n\n"
                                    "  fla-translate --fla-to-object FILE -o rule.o       an object file and the C header rule.h\n"
                                    "  fla-translate --fla-to-llvmir FILE                 optimised LLVM IR for this machine\n"
                                    "  fla-translate --fla-to-object FILE -o rule.o --dims=K:64,V:64 --dtype=bf16 --grad=false\n"
                                    "  fla-translate --fla-to-ptx FILE --chip=sm_90       PTX (--fla-to-cubin: through ptxas)\n"
                                    "  fla-translate --fla-to-hsaco FILE --chip=gfx942 -o rule.hsaco --resources\n\n"
                                    "FILE holds fla.recurrence definitions, or what fla-opt made of them in any phase up to\n"
                                    "kernelize. To call a kernel from C: include rule.h, link rule.o and -lm (see examples/c).";

//===----------------------------------------------------------------------===//
// Options
//===----------------------------------------------------------------------===//

static LogicalResult complain(const Twine &message) {
  llvm::errs() << "fla-translate: " << message << "\n";
  return failure();
}

static LogicalResult readOptions(CompileOptions &options) {
  for (StringRef entry : dims) {
    auto [name, number] = entry.split(':');
    if (name.empty() || number.getAsInteger(10, options.dims[name]))
      return complain("expected --dims as NAME:SIZE, got '" + entry + "'");
  }
  for (StringRef entry : dtypes) {
    auto [name, type] = entry.split(':');
    if (name.empty() || type.empty())
      return complain("expected --dtypes as NAME:TYPE, got '" + entry + "'");
    options.dtypes[name] = type.str();
  }
  options.dtype = dtype;
  options.form = form;
  options.backward = options.saveStates = grad;
  options.absent.assign(absent.begin(), absent.end());
  options.chunk = chunk;
  options.until = Phase::Kernelize;
  if (llvm::Error error = checkOptions(options))
    return complain(llvm::toString(std::move(error)));
  return success();
}

/// The value of mlir-translate's own `-o`, which it does not hand to translations.
static std::string outputFile() {
  auto &options = cl::getRegisteredOptions();
  auto it = options.find("o");
  return it == options.end() ? "-" : static_cast<cl::opt<std::string> *>(it->second)->getValue();
}

static std::string headerFile() {
  if (!header.empty() || outputFile() == "-")
    return header;
  llvm::SmallString<128> path(outputFile());
  llvm::sys::path::replace_extension(path, "h");
  return path.str().str();
}

//===----------------------------------------------------------------------===//
// Translations
//===----------------------------------------------------------------------===//

/// Brings a module of definitions to the kernels of a target.
static LogicalResult toKernels(ModuleOp module, StringRef target = "cpu") {
  CompileOptions options;
  options.target = target.str();
  if (failed(readOptions(options)) || failed(runPhases(module, options)))
    return failure();
  if (module.getOps<tile::KernelOp>().empty())
    return module.emitError("expected an fla.recurrence to compile, got none");
  return success();
}

static LogicalResult toLLVMIR(ModuleOp module, raw_ostream &os) {
  if (failed(toKernels(module)))
    return failure();
  auto text = cpu::compileToLLVMIR(module);
  if (failed(text))
    return failure();
  os << *text;
  return success();
}

static LogicalResult writeHeader(ModuleOp module, const cpu::ObjectCode &code) {
  std::string path = headerFile();
  if (path.empty())
    return success();
  std::string text;
  llvm::raw_string_ostream stream(text);
  if (failed(writeCHeader(module, code, llvm::sys::path::filename(path), stream)))
    return failure();
  std::error_code error;
  llvm::raw_fd_ostream file(path, error);
  if (!error)
    file << text;
  file.close();
  if (error || file.has_error())
    return complain("expected a writable file for the header, got '" + path + "': " + (error ? error : file.error()).message());
  return success();
}

static LogicalResult toObject(ModuleOp module, raw_ostream &os) {
  if (failed(toKernels(module)))
    return failure();
  auto code = cpu::compileToObject(module);
  if (failed(code) || failed(writeHeader(module, *code)))
    return failure();
  os << code->object;
  return success();
}

//===----------------------------------------------------------------------===//
// GPUs
//===----------------------------------------------------------------------===//

static FailureOr<const gpu::Chip *> findChipOf(gpu::Vendor vendor) {
  const gpu::Chip *chip = gpu::findChip(chipName);
  if (!chip || chip->vendor != vendor)
    return complain("expected --chip to be one of " + gpu::chipNames(vendor) + ", got '" + chipName + "'");
  return chip;
}

/// Brings a module to device form; one that is there already stays as it is.
static LogicalResult toDeviceForm(ModuleOp module, const gpu::Chip &chip) {
  if (gpu::isDeviceForm(module))
    return success();
  if (dtype.getNumOccurrences() == 0)
    dtype = "bf16";
  if (failed(toKernels(module, ((chip.vendor == gpu::Vendor::NVIDIA ? "cuda:" : "hip:") + chip.name).str())))
    return failure();
  PassManager pm(module.getContext(), ModuleOp::getOperationName());
  gpu::buildLayoutPasses(pm, chip.name, "ieee");
  gpu::buildTargetPasses(pm, chip.name);
  return pm.run(module);
}

static LogicalResult toGPU(ModuleOp module, raw_ostream &os, gpu::Vendor vendor, bool binary) {
  FailureOr<const gpu::Chip *> chip = findChipOf(vendor);
  if (failed(chip) || failed(toDeviceForm(module, **chip)))
    return failure();
  bool report = resources; // the linker of hsaco resets every command line option
  auto code = gpu::compileDevice(module, **chip, binary);
  if (failed(code))
    return failure();
  if (report)
    gpu::printResources(code->kernels, **chip, llvm::errs());
  os << code->code;
  return success();
}

static LogicalResult toPTX(ModuleOp module, raw_ostream &os) { return toGPU(module, os, gpu::Vendor::NVIDIA, /*binary=*/false); }
static LogicalResult toCubin(ModuleOp module, raw_ostream &os) { return toGPU(module, os, gpu::Vendor::NVIDIA, /*binary=*/true); }
static LogicalResult toHsaco(ModuleOp module, raw_ostream &os) { return toGPU(module, os, gpu::Vendor::AMD, /*binary=*/true); }

int main(int argc, char **argv) {
  auto dialects = [](DialectRegistry &registry) { registerDialects(registry); };
  TranslateFromMLIRRegistration llvmir("fla-to-llvmir", "definitions or kernels to LLVM IR for this machine", toLLVMIR, dialects);
  TranslateFromMLIRRegistration object("fla-to-object", "definitions or kernels to an object file for this machine, and a C header", toObject,
                                       dialects);
  auto deviceDialects = [](DialectRegistry &registry) {
    registerDialects(registry);
    gpu::registerDeviceDialects(registry);
  };
  TranslateFromMLIRRegistration ptx("fla-to-ptx", "definitions or kernels in device form to PTX for the chip of --chip", toPTX, deviceDialects);
  TranslateFromMLIRRegistration cubin("fla-to-cubin", "the same through ptxas of the CUDA toolkit to a cubin", toCubin, deviceDialects);
  TranslateFromMLIRRegistration hsaco("fla-to-hsaco", "definitions or kernels in device form to an hsaco for the chip of --chip", toHsaco,
                                      deviceDialects);
  registerToLLVMIRTranslation();
  registerFromLLVMIRTranslation();
  cl::HideUnrelatedOptions(category); // LLVM's own hundreds; those of mlir-translate are still to come
  return failed(mlirTranslateMain(argc, argv, kOverview));
}
