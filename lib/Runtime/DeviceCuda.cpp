//===- DeviceCuda.cpp - NVIDIA's driver API -------------------------------===//
//
// The functions and numbers below are those of cuda.h, whose ABI is stable.
//
//===----------------------------------------------------------------------===//
#include "CudaGraph.h"
#include "fla/Runtime/Cubins.h"
#include "fla/Support/Knobs.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSwitch.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <map>
#include <mutex>

namespace fla::runtime {
namespace {

using Result = int; // CUresult
using Device = int;
using Handle = void *; // contexts, modules, functions, streams

constexpr Result kInvalidDevice = 101, kNoBinaryForGpu = 209, kInvalidPtx = 218, kNoJitCompiler = 221, kUnsupportedPtx = 222, kOutOfResources = 701;
constexpr int kMaxThreads = 1, kMajor = 75, kMinor = 76, kMaxShared = 97; // device attributes
constexpr int kMaxDynamicShared = 8;                                      // function attribute
constexpr int kErrorLog = 5, kErrorLogBytes = 6;                          // options of the PTX compiler
constexpr int kPtxInput = 1;                                              // of the linker
constexpr int kRelaxedCapture = 2;
/// Kernels that are compiled at the same time.
constexpr int64_t kMostLinks = 8;
/// More dynamic shared memory than this must be asked for.
constexpr int64_t kSharedWithoutAsking = 48 * 1024;

constexpr const char *kRemedy = "install NVIDIA's driver 525 or newer, or point FLA_CUDA_DRIVER at its libcuda.so.1";

struct Functions {
  Result (*init)(unsigned);
  Result (*errorName)(Result, const char **);
  Result (*errorString)(Result, const char **);
  Result (*driverVersion)(int *);
  Result (*deviceGet)(Device *, int);
  Result (*deviceAttribute)(int *, int, Device);
  Result (*contextCurrent)(Handle *);
  Result (*contextDevice)(Device *);
  Result (*contextPush)(Handle);
  Result (*contextPop)(Handle *);
  Result (*primaryRetain)(Handle *, Device);
  Result (*moduleLoad)(Handle *, const void *, unsigned, int *, void **);
  Result (*moduleUnload)(Handle);
  Result (*linkCreate)(unsigned, int *, void **, Handle *);
  Result (*linkAdd)(Handle, int, void *, size_t, const char *, unsigned, int *, void **);
  Result (*linkComplete)(Handle, void **, size_t *);
  Result (*linkDestroy)(Handle);
  Result (*moduleFunction)(Handle *, Handle, const char *);
  Result (*functionAttribute)(Handle, int, int);
  Result (*launch)(Handle, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, Handle, void **, void **);
  Result (*copyToHost)(void *, uint64_t, size_t, Handle);
  Result (*streamWait)(Handle);
  Result (*streamCapturing)(Handle, int *);
  Result (*exchangeCaptureMode)(int *);
};

llvm::Error lookUp(const DeviceLibrary &library, Functions &f) {
  llvm::Error error = llvm::Error::success();
  auto need = [&](const char *name, auto *&function) { error = llvm::joinErrors(std::move(error), library.need(name, function)); };
  need("cuInit", f.init);
  need("cuGetErrorName", f.errorName);
  need("cuGetErrorString", f.errorString);
  need("cuDriverGetVersion", f.driverVersion);
  need("cuDeviceGet", f.deviceGet);
  need("cuDeviceGetAttribute", f.deviceAttribute);
  need("cuCtxGetCurrent", f.contextCurrent);
  need("cuCtxGetDevice", f.contextDevice);
  need("cuCtxPushCurrent_v2", f.contextPush);
  need("cuCtxPopCurrent_v2", f.contextPop);
  need("cuDevicePrimaryCtxRetain", f.primaryRetain);
  need("cuModuleLoadDataEx", f.moduleLoad);
  need("cuModuleUnload", f.moduleUnload);
  need("cuLinkCreate_v2", f.linkCreate);
  need("cuLinkAddData_v2", f.linkAdd);
  need("cuLinkComplete", f.linkComplete);
  need("cuLinkDestroy", f.linkDestroy);
  need("cuModuleGetFunction", f.moduleFunction);
  need("cuFuncSetAttribute", f.functionAttribute);
  need("cuLaunchKernel", f.launch);
  need("cuMemcpyDtoHAsync_v2", f.copyToHost);
  need("cuStreamSynchronize", f.streamWait);
  need("cuStreamIsCapturing", f.streamCapturing);
  need("cuThreadExchangeStreamCaptureMode", f.exchangeCaptureMode);
  return error;
}

/// What a program's code became.
struct Modules {
  std::vector<Handle> all;
  std::map<std::string, Handle> ofKernel; ///< empty if one has all
};

/// Room for what the PTX compiler says, and the options that name it.
struct ErrorLog {
  char text[8192] = "";
  int options[2] = {kErrorLog, kErrorLogBytes};
  void *values[2] = {text, reinterpret_cast<void *>(sizeof text)};
  llvm::StringRef str() const { return {text, strnlen(text, sizeof text)}; }
};

class CudaDriver : public DeviceDriver {
public:
  static llvm::Expected<std::unique_ptr<DeviceDriver>> open();
  llvm::Expected<std::string> chip(int64_t device) override;
  llvm::Expected<DeviceLimits> limits(int64_t device) override;
  bool accepts(const DeviceCode &code, llvm::StringRef device) const override;
  llvm::Expected<DeviceVisit> enter(int64_t device) override;
  void leave(const DeviceVisit &visit) override;
  llvm::Expected<void *> loadModule(const DeviceCode &code) override;
  void unloadModule(uint64_t id, void *module) override;
  llvm::Expected<void *> function(void *module, const DeviceKernel &kernel) override;
  llvm::Error launch(const DeviceLaunch &launch, void *stream) override;
  bool replays(void *stream) override { return graphs.canRecord() && graphs.isOrdinary(stream) && !isCapturing(stream); }
  void *record(llvm::ArrayRef<DeviceLaunch> launches) override;
  bool replay(void *recording, llvm::ArrayRef<DeviceLaunch> launches, void *stream) override { return graphs.replay(recording, launches, stream); }
  void forget(uint64_t id, void *recording) override;
  llvm::Error read(void *to, const void *from, int64_t bytes, void *stream) override;
  bool isCapturing(void *stream) override;

private:
  std::string text(Result result) const;
  llvm::Error check(Result result, const llvm::Twine &call) const;
  llvm::Expected<Device> handleOf(int64_t device) const;
  llvm::Expected<int> attribute(int which, int64_t device);
  llvm::Expected<Handle> primaryContext(int64_t device);
  llvm::Error explainLoad(Result result, const DeviceCode &code, llvm::StringRef log) const;
  std::string version() const;
  std::string compilerName() const;
  llvm::Expected<std::string> link(const KernelCode &ptx, Handle context) const;
  llvm::Expected<std::unique_ptr<Modules>> loadCubins(llvm::ArrayRef<KernelCode> cubins, llvm::StringRef chip) const;
  llvm::Expected<std::unique_ptr<Modules>> loadPtx(const DeviceCode &code);
  llvm::Error load(const DeviceCode &code, llvm::StringRef kernel, Modules &into) const;
  void unload(const Modules &modules) const;

  Functions f{};
  CudaGraphs graphs;
  std::string library; ///< name of the driver's file
  std::mutex mutex;    ///< of `primaries`
  std::map<int64_t, Handle> primaries;
};

/// Restores the thread's capture mode, under which loading a module is an error.
class RelaxedCapture {
public:
  explicit RelaxedCapture(const Functions &f) : f(f) { f.exchangeCaptureMode(&mode); }
  ~RelaxedCapture() { f.exchangeCaptureMode(&mode); }

private:
  const Functions &f;
  int mode = kRelaxedCapture;
};

/// ".version 8.3" of a PTX text.
llvm::StringRef ptxVersion(llvm::StringRef ptx) {
  return ptx.split(".version").second.ltrim().take_while([](char c) { return llvm::isDigit(c) || c == '.'; });
}

/// The first CUDA whose driver takes a PTX version, as NVIDIA's table has them.
llvm::StringRef cudaOfPtx(llvm::StringRef version) {
  return llvm::StringSwitch<llvm::StringRef>(version)
      .Case("7.0", "11.0")
      .Case("7.1", "11.1")
      .Case("7.2", "11.2")
      .Case("7.3", "11.3")
      .Case("7.4", "11.4")
      .Case("7.5", "11.5")
      .Case("7.6", "11.6")
      .Case("7.7", "11.7")
      .Case("7.8", "11.8")
      .Case("8.0", "12.0")
      .Case("8.1", "12.1")
      .Case("8.2", "12.2")
      .Case("8.3", "12.3")
      .Case("8.4", "12.4")
      .Case("8.5", "12.5")
      .Case("8.6", "12.7")
      .Case("8.7", "12.8")
      .Case("8.8", "12.9")
      .Case("9.0", "13.0")
      .Default("");
}

/// Compute capability of "sm_90a" as 90, and its suffix.
std::pair<int, llvm::StringRef> capability(llvm::StringRef chip) {
  chip.consume_front("sm_");
  llvm::StringRef digits = chip.take_while(llvm::isDigit);
  int number = 0;
  digits.getAsInteger(10, number);
  return {number, chip.drop_front(digits.size())};
}

} // namespace

llvm::Expected<std::unique_ptr<DeviceDriver>> CudaDriver::open() {
  std::string chosen = knobs::cudaDriver();
  auto names = chosen.empty() ? std::vector<std::string>{"libcuda.so.1", "libcuda.so"} : std::vector<std::string>{chosen};
  auto library = DeviceLibrary::open(names, "NVIDIA's CUDA driver", kRemedy);
  if (!library)
    return library.takeError();
  auto driver = std::make_unique<CudaDriver>();
  if (llvm::Error error = lookUp(*library, driver->f))
    return std::move(error);
  driver->graphs.lookUp(*library);
  driver->library = library->fileName("cuInit");
  if (llvm::Error error = driver->check(driver->f.init(0), "cuInit"))
    return std::move(error);
  return driver;
}

std::string CudaDriver::text(Result result) const {
  const char *name = nullptr, *text = nullptr;
  f.errorName(result, &name);
  f.errorString(result, &text);
  return std::string(text ? text : "unknown error") + " (" + (name ? name : std::to_string(result)) + ")";
}

llvm::Error CudaDriver::check(Result result, const llvm::Twine &call) const {
  return result == 0 ? llvm::Error::success() : deviceError("CUDA: " + call + ": " + text(result));
}

std::string CudaDriver::version() const {
  int version = 0;
  f.driverVersion(&version);
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

llvm::Expected<Device> CudaDriver::handleOf(int64_t device) const {
  Device handle = 0;
  Result result = f.deviceGet(&handle, device);
  if (result == kInvalidDevice)
    return deviceError("CUDA: expected a device that this process sees (CUDA_VISIBLE_DEVICES), got number " + llvm::Twine(device));
  if (llvm::Error error = check(result, "cuDeviceGet"))
    return std::move(error);
  return handle;
}

llvm::Expected<int> CudaDriver::attribute(int which, int64_t device) {
  auto handle = handleOf(device);
  if (!handle)
    return handle.takeError();
  int value = 0;
  if (llvm::Error error = check(f.deviceAttribute(&value, which, *handle), "cuDeviceGetAttribute"))
    return std::move(error);
  return value;
}

llvm::Expected<std::string> CudaDriver::chip(int64_t device) {
  auto major = attribute(kMajor, device);
  if (!major)
    return major.takeError();
  auto minor = attribute(kMinor, device);
  if (!minor)
    return minor.takeError();
  return "sm_" + std::to_string(*major) + std::to_string(*minor);
}

llvm::Expected<DeviceLimits> CudaDriver::limits(int64_t device) {
  DeviceLimits limits;
  for (auto [which, into] : {std::pair{kMaxThreads, &limits.threads}, {kMaxShared, &limits.shared}}) {
    auto value = attribute(which, device);
    if (!value)
      return value.takeError();
    *into = *value;
  }
  return limits;
}

bool CudaDriver::accepts(const DeviceCode &code, llvm::StringRef device) const {
  auto [wanted, suffix] = capability(code.chip);
  int got = capability(device).first;
  if (suffix == "a")
    return got == wanted;
  bool sameMajor = got / 10 == wanted / 10;
  return got >= wanted && (sameMajor || (code.format == "ptx" && suffix.empty()));
}

llvm::Expected<Handle> CudaDriver::primaryContext(int64_t device) {
  std::lock_guard lock(mutex);
  Handle &context = primaries[device];
  if (context)
    return context;
  auto handle = handleOf(device);
  if (!handle)
    return handle.takeError();
  if (llvm::Error error = check(f.primaryRetain(&context, *handle), "cuDevicePrimaryCtxRetain"))
    return std::move(error);
  return context;
}

llvm::Expected<DeviceVisit> CudaDriver::enter(int64_t device) {
  Handle current = nullptr;
  Device at = -1;
  if (llvm::Error error = check(f.contextCurrent(&current), "cuCtxGetCurrent"))
    return std::move(error);
  if (current)
    if (llvm::Error error = check(f.contextDevice(&at), "cuCtxGetDevice"))
      return std::move(error);
  if (current && at == device)
    return DeviceVisit{reinterpret_cast<uint64_t>(current)};
  auto primary = primaryContext(device);
  if (!primary)
    return primary.takeError();
  if (llvm::Error error = check(f.contextPush(*primary), "cuCtxPushCurrent"))
    return std::move(error);
  return DeviceVisit{reinterpret_cast<uint64_t>(*primary), /*entered=*/true};
}

void CudaDriver::leave(const DeviceVisit &visit) {
  Handle popped;
  if (visit.entered)
    f.contextPop(&popped);
}

llvm::Error CudaDriver::explainLoad(Result result, const DeviceCode &code, llvm::StringRef log) const {
  std::string what = "CUDA: cannot load " + code.format + " for " + code.chip + ": " + text(result);
  if (!log.trim().empty())
    what += "; the PTX compiler says: " + log.trim().str();
  llvm::StringRef ptx = ptxVersion(code.bytes);
  if (result == kUnsupportedPtx)
    what += "; the driver is for CUDA " + version() + ", PTX " + ptx.str() + " needs " +
            (cudaOfPtx(ptx).empty() ? "a newer one" : "CUDA " + cudaOfPtx(ptx).str() + " or newer") +
            ": update the driver, or compile where ptxas is installed (a cubin needs no PTX compiler)";
  if (result == kNoJitCompiler)
    what += "; the driver's PTX compiler libnvidia-ptxjitcompiler.so.1 is missing: install it, or compile where ptxas is installed";
  if (result == kNoBinaryForGpu || result == kInvalidPtx)
    what += "; expected code for this device and a driver that knows " + code.chip + ", got a driver for CUDA " + version();
  return deviceError(what);
}

/// Two of a name make the same code: cubins of one are those of the other.
std::string CudaDriver::compilerName() const {
  int number = 0;
  f.driverVersion(&number);
  return std::to_string(number) + " " + library;
}

llvm::Expected<std::string> CudaDriver::link(const KernelCode &ptx, Handle context) const {
  RelaxedCapture relaxed(f);
  if (llvm::Error error = check(f.contextPush(context), "cuCtxPushCurrent"))
    return std::move(error);
  ErrorLog log;
  Handle state = nullptr;
  void *bytes = nullptr; // the state's
  size_t size = 0;
  std::string text = ptx.bytes, cubin; // the linker takes no constant text; it ends at a NUL
  Result result = f.linkCreate(2, log.options, log.values, &state);
  if (result == 0) {
    result = f.linkAdd(state, kPtxInput, text.data(), text.size() + 1, ptx.kernel.c_str(), 0, nullptr, nullptr);
    if (result == 0)
      result = f.linkComplete(state, &bytes, &size);
    if (result == 0)
      cubin.assign(static_cast<const char *>(bytes), size);
    f.linkDestroy(state);
  }
  Handle popped;
  f.contextPop(&popped);
  if (llvm::Error error = check(result, "cuLink('" + ptx.kernel + "') " + log.str().trim()))
    return std::move(error);
  return cubin;
}

llvm::Error CudaDriver::load(const DeviceCode &code, llvm::StringRef kernel, Modules &into) const {
  ErrorLog log;
  Handle module = nullptr;
  RelaxedCapture relaxed(f);
  // A PTX text ends at a NUL, which std::string has.
  if (Result result = f.moduleLoad(&module, code.bytes.c_str(), 2, log.options, log.values))
    return explainLoad(result, code, log.str());
  into.all.push_back(module);
  if (!kernel.empty())
    into.ofKernel[kernel.str()] = module;
  return llvm::Error::success();
}

void CudaDriver::unload(const Modules &modules) const {
  for (Handle module : modules.all)
    f.moduleUnload(module);
}

llvm::Expected<std::unique_ptr<Modules>> CudaDriver::loadCubins(llvm::ArrayRef<KernelCode> cubins, llvm::StringRef chip) const {
  auto modules = std::make_unique<Modules>();
  for (const KernelCode &cubin : cubins)
    if (llvm::Error error = load({"cuda", chip.str(), "cubin", cubin.bytes}, cubin.kernel, *modules)) {
      unload(*modules);
      return std::move(error);
    }
  return modules;
}

/// Through cubins, which are compiled in parallel and kept.
llvm::Expected<std::unique_ptr<Modules>> CudaDriver::loadPtx(const DeviceCode &code) {
  Handle context = nullptr;
  Device device = 0;
  if (llvm::Error error = check(f.contextCurrent(&context), "cuCtxGetCurrent"))
    return std::move(error);
  if (llvm::Error error = check(f.contextDevice(&device), "cuCtxGetDevice"))
    return std::move(error);
  auto chip = this->chip(device);
  if (!chip)
    return chip.takeError();
  CubinRequest request{code.bytes, *chip, compilerName(), std::min(kMostLinks, knobs::numThreads())};
  auto linkHere = [&](const KernelCode &ptx) { return link(ptx, context); };
  auto cubins = makeCubins(request, linkHere);
  if (!cubins)
    return cubins.takeError();
  auto modules = loadCubins(*cubins, *chip);
  if (modules || llvm::none_of(*cubins, [](const KernelCode &cubin) { return cubin.cached; }))
    return modules;
  // Intact, but not what this driver takes.
  std::fprintf(stderr, "fla: warning: a cubin of the cache is compiled again: %s\n", llvm::toString(modules.takeError()).c_str());
  request.fresh = true;
  cubins = makeCubins(request, linkHere);
  if (!cubins)
    return cubins.takeError();
  return loadCubins(*cubins, *chip);
}

llvm::Expected<void *> CudaDriver::loadModule(const DeviceCode &code) {
  std::string problem;
  if (code.format == "ptx") {
    auto modules = loadPtx(code);
    if (modules)
      return modules->release();
    problem = llvm::toString(modules.takeError());
  }
  // As it is: a cubin, or the driver does with PTX what it can, and its error counts.
  auto modules = std::make_unique<Modules>();
  if (llvm::Error error = load(code, "", *modules))
    return std::move(error);
  static std::atomic<bool> warned = false;
  if (!problem.empty() && !warned.exchange(true))
    std::fprintf(stderr, "fla: warning: %s; the driver compiles PTX again in each process\n", problem.c_str());
  return modules.release();
}

void CudaDriver::unloadModule(uint64_t id, void *module) {
  std::unique_ptr<Modules> modules(static_cast<Modules *>(module));
  if (f.contextPush(reinterpret_cast<Handle>(id)) != 0)
    return;
  unload(*modules);
  Handle popped;
  f.contextPop(&popped);
}

llvm::Expected<void *> CudaDriver::function(void *module, const DeviceKernel &kernel) {
  auto *modules = static_cast<Modules *>(module);
  auto own = modules->ofKernel.find(kernel.name);
  Handle function = nullptr, in = own == modules->ofKernel.end() ? modules->all.front() : own->second;
  if (llvm::Error error = check(f.moduleFunction(&function, in, kernel.name.c_str()), "cuModuleGetFunction('" + kernel.name + "')"))
    return std::move(error);
  if (kernel.shared > kSharedWithoutAsking)
    if (llvm::Error error = check(f.functionAttribute(function, kMaxDynamicShared, kernel.shared),
                                  "cuFuncSetAttribute('" + kernel.name + "', " + llvm::Twine(kernel.shared) + " bytes of shared memory)"))
      return std::move(error);
  return function;
}

void *CudaDriver::record(llvm::ArrayRef<DeviceLaunch> launches) {
  RelaxedCapture relaxed(f); // another thread's, which forbids what allocates
  return graphs.record(launches);
}

void CudaDriver::forget(uint64_t id, void *recording) {
  if (f.contextPush(reinterpret_cast<Handle>(id)) != 0)
    return;
  graphs.forget(recording);
  Handle popped;
  f.contextPop(&popped);
}

llvm::Error CudaDriver::launch(const DeviceLaunch &launch, void *stream) {
  const DeviceKernel &kernel = *launch.kernel;
  Result result = f.launch(launch.function, launch.grid, 1, 1, kernel.threads, 1, 1, kernel.shared, stream, launch.parameters, nullptr);
  if (LLVM_LIKELY(result == 0))
    return llvm::Error::success();
  std::string hint;
  if (result == kOutOfResources)
    hint = "; a block of " + std::to_string(kernel.threads) + " threads with " + std::to_string(kernel.shared) +
           " bytes of shared memory does not fit this device, a smaller chunk_size may";
  return deviceError("CUDA: launch of '" + kernel.name + "' with " + llvm::Twine(launch.grid) + " blocks: " + text(result) + hint);
}

llvm::Error CudaDriver::read(void *to, const void *from, int64_t bytes, void *stream) {
  if (llvm::Error error = check(f.copyToHost(to, reinterpret_cast<uint64_t>(from), bytes, stream), "cuMemcpyDtoHAsync"))
    return error;
  return check(f.streamWait(stream), "cuStreamSynchronize");
}

bool CudaDriver::isCapturing(void *stream) {
  int status = 0;
  return f.streamCapturing(stream, &status) != 0 || status != 0;
}

llvm::Expected<std::unique_ptr<DeviceDriver>> openCudaDriver() { return CudaDriver::open(); }

} // namespace fla::runtime
