//===- DeviceHip.cpp - AMD's HIP runtime ----------------------------------===//
//
// HIP's module API. Contexts are a device's own, one each. Shared memory (LDS) is
// a static part of our code objects, so launches ask for none.
//
//===----------------------------------------------------------------------===//
#include "DeviceLibrary.h"
#include "fla/Support/Knobs.h"

#include "llvm/ADT/StringExtras.h"

namespace fla::runtime {
namespace {

using Result = int; // hipError_t
using Handle = void *;

constexpr Result kInvalidImage = 200, kNoBinaryForGpu = 209;
constexpr int kMaxThreads = 56, kMaxShared = 74; // hipDeviceAttribute_t since ROCm 5
constexpr int kRelaxedCapture = 2;

constexpr const char *kRemedy = "install ROCm 5.7 or newer, or point FLA_HIP_DRIVER at its libamdhip64.so";

struct Functions {
  Result (*init)(unsigned);
  const char *(*errorName)(Result);
  const char *(*errorString)(Result);
  Result (*deviceCount)(int *);
  Result (*deviceAttribute)(int *, int, int);
  Result (*properties)(void *, int);
  Result (*getDevice)(int *);
  Result (*setDevice)(int);
  Result (*moduleLoad)(Handle *, const void *);
  Result (*moduleUnload)(Handle);
  Result (*moduleFunction)(Handle *, Handle, const char *);
  Result (*launch)(Handle, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, Handle, void **, void **);
  Result (*copyToHost)(void *, const void *, size_t, Handle);
  Result (*streamWait)(Handle);
  Result (*streamCapturing)(Handle, int *);
  Result (*exchangeCaptureMode)(int *);
};

llvm::Error lookUp(const DeviceLibrary &library, Functions &f) {
  llvm::Error error = llvm::Error::success();
  auto need = [&](const char *name, auto *&function) { error = llvm::joinErrors(std::move(error), library.need(name, function)); };
  need("hipInit", f.init);
  need("hipGetErrorName", f.errorName);
  need("hipGetErrorString", f.errorString);
  need("hipGetDeviceCount", f.deviceCount);
  need("hipDeviceGetAttribute", f.deviceAttribute);
  need("hipGetDevice", f.getDevice);
  need("hipSetDevice", f.setDevice);
  need("hipModuleLoadData", f.moduleLoad);
  need("hipModuleUnload", f.moduleUnload);
  need("hipModuleGetFunction", f.moduleFunction);
  need("hipModuleLaunchKernel", f.launch);
  need("hipMemcpyDtoHAsync", f.copyToHost);
  need("hipStreamSynchronize", f.streamWait);
  need("hipStreamIsCapturing", f.streamCapturing);
  need("hipThreadExchangeStreamCaptureMode", f.exchangeCaptureMode);
  library.want("hipGetDevicePropertiesR0600", f.properties);
  if (!f.properties)
    need("hipGetDeviceProperties", f.properties);
  return error;
}

class HipDriver : public DeviceDriver {
public:
  static llvm::Expected<std::unique_ptr<DeviceDriver>> open();
  llvm::Expected<std::string> chip(int64_t device) override;
  llvm::Expected<DeviceLimits> limits(int64_t device) override;
  bool accepts(const DeviceCode &code, llvm::StringRef device) const override { return code.chip == device; }
  llvm::Expected<DeviceVisit> enter(int64_t device) override;
  void leave(const DeviceVisit &visit) override;
  llvm::Expected<void *> loadModule(const DeviceCode &code) override;
  void unloadModule(uint64_t id, void *module) override { f.moduleUnload(module); }
  llvm::Expected<void *> function(void *module, const DeviceKernel &kernel) override;
  llvm::Error launch(const DeviceLaunch &launch, void *stream) override;
  llvm::Error read(void *to, const void *from, int64_t bytes, void *stream) override;
  bool isCapturing(void *stream) override;

private:
  llvm::Error check(Result result, const llvm::Twine &call) const;
  llvm::Error checkDevice(int64_t device) const;
  Functions f{};
};

} // namespace

llvm::Expected<std::unique_ptr<DeviceDriver>> HipDriver::open() {
  std::string chosen = knobs::hipDriver();
  auto names = chosen.empty() ? std::vector<std::string>{"libamdhip64.so", "libamdhip64.so.7", "libamdhip64.so.6", "libamdhip64.so.5"}
                              : std::vector<std::string>{chosen};
  auto library = DeviceLibrary::open(names, "AMD's HIP runtime", kRemedy);
  if (!library)
    return library.takeError();
  auto driver = std::make_unique<HipDriver>();
  if (llvm::Error error = lookUp(*library, driver->f))
    return std::move(error);
  if (llvm::Error error = driver->check(driver->f.init(0), "hipInit"))
    return std::move(error);
  return driver;
}

llvm::Error HipDriver::check(Result result, const llvm::Twine &call) const {
  if (result == 0)
    return llvm::Error::success();
  return deviceError("HIP: " + call + ": " + f.errorString(result) + " (" + f.errorName(result) + ")");
}

llvm::Error HipDriver::checkDevice(int64_t device) const {
  int count = 0;
  if (llvm::Error error = check(f.deviceCount(&count), "hipGetDeviceCount"))
    return error;
  if (device >= 0 && device < count)
    return llvm::Error::success();
  return deviceError("HIP: expected one of the " + llvm::Twine(count) + " devices that this process sees (HIP_VISIBLE_DEVICES), got number " +
                     llvm::Twine(device));
}

llvm::Expected<std::string> HipDriver::chip(int64_t device) {
  if (llvm::Error error = checkDevice(device))
    return std::move(error);
  // The structure differs between versions of ROCm, the text in it does not:
  // "gfx942:sramecc+:xnack-". Versions so far fill less than 2 KiB.
  std::string properties(16384, '\0');
  if (llvm::Error error = check(f.properties(properties.data(), device), "hipGetDeviceProperties"))
    return std::move(error);
  size_t at = properties.find("gfx");
  if (at == std::string::npos)
    return deviceError("HIP: expected the name of an instruction set (gfx...) for device " + llvm::Twine(device) + ", got none");
  return llvm::StringRef(properties).drop_front(at).take_while(llvm::isAlnum).str();
}

llvm::Expected<DeviceLimits> HipDriver::limits(int64_t device) {
  DeviceLimits limits;
  int threads = 0, shared = 0;
  if (f.deviceAttribute(&threads, kMaxThreads, device) == 0)
    limits.threads = threads;
  if (f.deviceAttribute(&shared, kMaxShared, device) == 0)
    limits.shared = shared;
  return limits;
}

llvm::Expected<DeviceVisit> HipDriver::enter(int64_t device) {
  int at = -1;
  if (llvm::Error error = check(f.getDevice(&at), "hipGetDevice"))
    return std::move(error);
  DeviceVisit visit{static_cast<uint64_t>(device) + 1, at != device, at};
  if (visit.entered)
    if (llvm::Error error = check(f.setDevice(device), "hipSetDevice(" + llvm::Twine(device) + ")"))
      return std::move(error);
  return visit;
}

void HipDriver::leave(const DeviceVisit &visit) {
  if (visit.entered)
    f.setDevice(visit.previous);
}

llvm::Expected<void *> HipDriver::loadModule(const DeviceCode &code) {
  int mode = kRelaxedCapture;
  f.exchangeCaptureMode(&mode);
  Handle module = nullptr;
  Result result = f.moduleLoad(&module, code.bytes.data());
  f.exchangeCaptureMode(&mode);
  if (result == kNoBinaryForGpu || result == kInvalidImage)
    return deviceError("HIP: cannot load " + code.format + " for " + code.chip + ": " + f.errorString(result) + " (" + f.errorName(result) +
                       "); expected code for this device: update ROCm, or compile for the name that rocminfo shows");
  if (llvm::Error error = check(result, "hipModuleLoadData"))
    return std::move(error);
  return module;
}

llvm::Expected<void *> HipDriver::function(void *module, const DeviceKernel &kernel) {
  Handle function = nullptr;
  if (llvm::Error error = check(f.moduleFunction(&function, module, kernel.name.c_str()), "hipModuleGetFunction('" + kernel.name + "')"))
    return std::move(error);
  return function;
}

llvm::Error HipDriver::launch(const DeviceLaunch &launch, void *stream) {
  const DeviceKernel &kernel = *launch.kernel;
  Result result = f.launch(launch.function, launch.grid, 1, 1, kernel.threads, 1, 1, /*shared=*/0, stream, launch.parameters, nullptr);
  if (LLVM_LIKELY(result == 0))
    return llvm::Error::success();
  return check(result, "launch of '" + kernel.name + "' with " + llvm::Twine(launch.grid) + " blocks");
}

llvm::Error HipDriver::read(void *to, const void *from, int64_t bytes, void *stream) {
  if (llvm::Error error = check(f.copyToHost(to, from, bytes, stream), "hipMemcpyDtoHAsync"))
    return error;
  return check(f.streamWait(stream), "hipStreamSynchronize");
}

bool HipDriver::isCapturing(void *stream) {
  int status = 0;
  return f.streamCapturing(stream, &status) != 0 || status != 0;
}

llvm::Expected<std::unique_ptr<DeviceDriver>> openHipDriver() { return HipDriver::open(); }

} // namespace fla::runtime
