//===- DeviceProgram.cpp - kernels on a GPU -------------------------------===//
#include "fla/Runtime/DeviceProgram.h"
#include "DeviceLibrary.h"
#include "Replays.h"
#include "fla/Support/Knobs.h"

#include "llvm/ADT/SmallVector.h"

#include <mutex>

namespace fla::runtime {
namespace {

/// A device's context for the life of this object.
class Visit {
public:
  Visit(DeviceDriver &driver, DeviceVisit visit) : driver(driver), visit(visit) {}
  ~Visit() { driver.leave(visit); }

private:
  DeviceDriver &driver;
  DeviceVisit visit;
};

/// Launches of a program's kernels with their parameters: values of 8 bytes and where each lies.
class Launches {
public:
  Launches(llvm::ArrayRef<DeviceKernel> kernels, llvm::ArrayRef<void *> functions, llvm::ArrayRef<Buffer> buffers, const Shape &shape) {
    llvm::SmallVector<size_t, 16> first;
    for (auto [kernel, function] : llvm::zip_equal(kernels, functions)) {
      int64_t grid = deviceGrid(kernel, shape);
      if (grid == 0)
        continue;
      all.push_back({function, &kernel, grid, nullptr});
      first.push_back(values.size());
      append(kernel, buffers, shape);
    }
    // Now that nothing moves any more.
    for (int64_t &value : values)
      pointers.push_back(&value);
    for (auto [launch, begin] : llvm::zip_equal(all, first))
      launch.parameters = pointers.data() + begin;
  }
  Launches(const Launches &) = delete;
  llvm::ArrayRef<DeviceLaunch> get() const { return all; }

private:
  void append(const DeviceKernel &kernel, llvm::ArrayRef<Buffer> buffers, const Shape &shape) {
    for (int64_t index : kernel.arguments) {
      const Buffer &b = buffers[index];
      values.append({reinterpret_cast<int64_t>(b.data), b.strideBatch, b.strideToken, b.strideHead, b.group});
    }
    values.append({shape.tokens, shape.heads, shape.numSequences, reinterpret_cast<int64_t>(shape.cuSeqlens),
                   reinterpret_cast<int64_t>(shape.stateIndices), shape.numStates});
  }

  llvm::SmallVector<DeviceLaunch, 16> all;
  llvm::SmallVector<int64_t, 512> values;
  llvm::SmallVector<void *, 512> pointers;
};

/// gridDim.x has 31 bits with every vendor.
llvm::Error checkGrids(llvm::ArrayRef<DeviceLaunch> launches) {
  for (const DeviceLaunch &launch : launches)
    if (launch.grid > 0x7FFFFFFF)
      return deviceError("kernel '" + launch.kernel->name + "': expected at most 2147483647 blocks in a launch, got " + llvm::Twine(launch.grid) +
                         "; split the batch");
  return llvm::Error::success();
}

/// What does not depend on values that lie on the device.
std::string checkSizes(const Shape &shape) {
  if (shape.batch < 0 || shape.tokens < 0 || shape.heads < 0 || shape.numSequences < 0)
    return "expected sizes that are not negative";
  if (!shape.cuSeqlens && shape.numSequences != shape.batch)
    return "expected as many sequences as batch entries without cu_seqlens";
  if (shape.cuSeqlens && shape.batch != 1)
    return "expected batch 1 with cu_seqlens, got " + std::to_string(shape.batch);
  return "";
}

llvm::Error checkFits(const DeviceKernel &kernel, const DeviceLimits &limits, int64_t device, llvm::StringRef chip) {
  auto refuse = [&](int64_t need, llvm::StringRef what, int64_t have) {
    return deviceError("kernel '" + kernel.name + "' needs " + llvm::Twine(need) + " " + what + " a block, device " + llvm::Twine(device) + " (" +
                       chip + ") has " + llvm::Twine(have) + "; a smaller chunk_size or smaller dimensions take less");
  };
  if (limits.shared && kernel.shared > limits.shared)
    return refuse(kernel.shared, "bytes of shared memory", limits.shared);
  if (limits.threads && kernel.threads > limits.threads)
    return refuse(kernel.threads, "threads", limits.threads);
  return llvm::Error::success();
}

} // namespace

int64_t deviceGrid(const DeviceKernel &kernel, const Shape &shape) {
  int64_t along = kernel.overChunks ? numSlots(shape, kernel.chunk) : shape.numSequences;
  return along * shape.heads * kernel.blocks;
}

DeviceProgram::DeviceProgram(DeviceCode code, std::vector<DeviceKernel> kernels) : code(std::move(code)), kernels(std::move(kernels)) {}

DeviceProgram::~DeviceProgram() {
  for (auto &[context, loaded] : contexts) {
    loaded.replays.reset();
    driver.load()->unloadModule(context, loaded.module);
  }
}

llvm::Expected<DeviceProgram::Loaded> DeviceProgram::load(uint64_t context, int64_t device) {
  DeviceDriver &driver = *this->driver;
  auto chip = driver.chip(device);
  if (!chip)
    return chip.takeError();
  if (!driver.accepts(code, *chip))
    return deviceError("kernels for " + code.chip + " (" + code.format + ") do not run on device " + llvm::Twine(device) + ", which is " + *chip +
                       "; expected a program for the target '" + code.vendor + ":" + *chip + "'");
  auto limits = driver.limits(device);
  if (!limits)
    return limits.takeError();
  for (const DeviceKernel &kernel : kernels)
    if (llvm::Error error = checkFits(kernel, *limits, device, *chip))
      return std::move(error);
  auto module = driver.loadModule(code);
  if (!module)
    return module.takeError();
  Loaded loaded{*module, {}, std::make_unique<Replays>(driver, context)};
  for (const DeviceKernel &kernel : kernels) {
    auto function = driver.function(*module, kernel);
    if (!function)
      return function.takeError();
    loaded.functions.push_back(*function);
  }
  return loaded;
}

llvm::Expected<const DeviceProgram::Loaded *> DeviceProgram::loadedAt(uint64_t context, int64_t device) {
  {
    std::shared_lock lock(mutex);
    auto known = contexts.find(context);
    if (LLVM_LIKELY(known != contexts.end()))
      return &known->second;
  }
  std::unique_lock lock(mutex);
  auto known = contexts.find(context);
  if (known != contexts.end())
    return &known->second;
  auto loaded = load(context, device);
  if (!loaded)
    return loaded.takeError();
  return &contexts.emplace(context, std::move(*loaded)).first->second;
}

/// Offsets and indices, copied to the host for once (FLA_CHECK_OFFSETS).
llvm::Error DeviceProgram::checkValues(const Shape &shape, void *stream) {
  // Nothing can be read while the stream is captured.
  if ((!shape.cuSeqlens && !shape.stateIndices) || !knobs::checkOffsets() || driver.load()->isCapturing(stream))
    return llvm::Error::success();
  Shape onHost = shape;
  std::vector<int64_t> offsets, indices;
  for (auto [values, given, count] :
       {std::tuple(&offsets, &onHost.cuSeqlens, shape.numSequences + 1), std::tuple(&indices, &onHost.stateIndices, shape.numSequences)}) {
    if (!*given)
      continue;
    values->resize(count);
    if (llvm::Error error = driver.load()->read(values->data(), *given, count * sizeof(int64_t), stream))
      return error;
    *given = values->data();
  }
  std::string problem = checkShape(onHost);
  return problem.empty() ? llvm::Error::success() : deviceError(problem);
}

llvm::Expected<DeviceDriver *> DeviceProgram::openDriver() {
  DeviceDriver *known = driver;
  if (LLVM_LIKELY(known))
    return known;
  auto opened = DeviceDriver::get(code.vendor);
  if (!opened)
    return opened.takeError();
  return driver = *opened;
}

/// Does the work in the context of a device, where the program is loaded.
llvm::Error DeviceProgram::inContext(int64_t device, llvm::function_ref<llvm::Error(const Loaded &)> work) {
  auto driver = openDriver();
  if (!driver)
    return driver.takeError();
  auto entered = (*driver)->enter(device);
  if (!entered)
    return entered.takeError();
  Visit visit(**driver, *entered);
  auto loaded = loadedAt(entered->id, device);
  return loaded ? work(**loaded) : loaded.takeError();
}

llvm::Error DeviceProgram::prepare(int64_t device) {
  return inContext(device, [](const Loaded &) { return llvm::Error::success(); });
}

llvm::Error DeviceProgram::run(llvm::ArrayRef<Buffer> buffers, const Shape &shape, int64_t device, void *stream) {
  if (std::string problem = checkSizes(shape); !problem.empty())
    return deviceError(problem);
  return inContext(device, [&](const Loaded &loaded) {
    if (llvm::Error error = checkValues(shape, stream))
      return error;
    Launches launches(kernels, loaded.functions, buffers, shape);
    if (llvm::Error error = checkGrids(launches.get()))
      return error;
    return loaded.replays->start(launches.get(), stream);
  });
}

} // namespace fla::runtime
