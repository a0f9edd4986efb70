//===- GeneratedTest.cpp - generated GPU kernels in the simulator ---------===//
//
// Tile kernels are lowered for one chip of each family and executed by the
// simulator, which reports races and bad accesses. Their results are those of
// the tile interpreter, which computes in doubles.
//
//===----------------------------------------------------------------------===//
#include "Generated.h"

#include "fla/Dialect/Tile/IR/Tile.h"
#include "fla/Pipelines/Pipelines.h"
#include "fla/Simulator/Simulator.h"
#include "fla/Target/GPU/GPU.h"

#include "llvm/ADT/APFloat.h"
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>

using namespace fla;
using namespace fla::testing;
using tile::BufferKind;

int testing::failures = 0, testing::cases = 0;

mlir::MLIRContext *testing::context() {
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

/// Numbers as an element type stores them, and back.
std::vector<char> encode(mlir::Type type, const std::vector<double> &values) {
  auto element = mlir::cast<mlir::FloatType>(type);
  size_t size = element.getWidth() / 8;
  std::vector<char> bytes(values.size() * size);
  for (auto [i, value] : llvm::enumerate(values)) {
    llvm::APFloat x(value);
    bool loses;
    x.convert(element.getFloatSemantics(), llvm::APFloat::rmNearestTiesToEven, &loses);
    uint64_t bits = x.bitcastToAPInt().getZExtValue();
    std::memcpy(bytes.data() + i * size, &bits, size);
  }
  return bytes;
}

std::vector<double> decode(mlir::Type type, const std::vector<char> &bytes) {
  auto element = mlir::cast<mlir::FloatType>(type);
  size_t size = element.getWidth() / 8;
  std::vector<double> values;
  for (size_t at = 0; at < bytes.size(); at += size) {
    uint64_t bits = 0;
    std::memcpy(&bits, bytes.data() + at, size);
    llvm::APFloat x(element.getFloatSemantics(), llvm::APInt(element.getWidth(), bits));
    bool loses;
    x.convert(llvm::APFloat::IEEEdouble(), llvm::APFloat::rmNearestTiesToEven, &loses);
    values.push_back(x.convertToDouble());
  }
  return values;
}

double relativeError(const std::vector<double> &got, const std::vector<double> &want) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    if (got[i] == want[i])
      continue;
    difference += (got[i] - want[i]) * (got[i] - want[i]);
  }
  for (double x : want)
    norm += std::isfinite(x) ? x * x : 0;
  return std::sqrt(difference) / (std::sqrt(norm) + 1e-6 * std::sqrt(double(want.size())));
}

void complain(const Trial &trial, const std::string &what) {
  ++failures;
  std::printf("FAIL %s on %s: %s\n", trial.name.c_str(), trial.chip.c_str(), what.c_str());
}

/// The buffers of a module's kernels in the simulator's memory, by name.
class DeviceBuffers {
public:
  struct Entry {
    mlir::Type element;
    std::vector<char> bytes;
    uint64_t address;
    bool written;
  };
  DeviceBuffers(mlir::ModuleOp module, const Trial &trial) : trial(trial) {
    module.walk([&](tile::KernelOp kernel) {
      for (auto [i, argument] : llvm::enumerate(kernel.getBody().getArguments()))
        add(kernel, i, mlir::cast<tile::BufferType>(argument.getType()));
    });
  }
  /// Address, strides and group of a buffer, as kernels take them.
  void pass(tile::KernelOp kernel, unsigned i, std::vector<sim::Argument> &list) {
    auto type = mlir::cast<tile::BufferType>(kernel.getBody().getArgument(i).getType());
    auto it = entries.find(kernel.getArgName(i).str());
    int64_t inner = 1;
    for (int64_t size : type.getShape())
      inner *= size;
    int64_t row = trial.launch.heads * inner;
    list.push_back(it == entries.end() ? 0 : it->second.address);
    list.push_back(type.getKind() == BufferKind::token ? trial.launch.tokens * row : row);
    list.push_back(row);
    list.push_back(inner);
    list.push_back(1);
  }
  std::map<std::string, Entry> entries;
  sim::Memory memory;

private:
  void add(tile::KernelOp kernel, unsigned i, tile::BufferType type) {
    std::string name = kernel.getArgName(i).str();
    bool written = kernel.getOutputs()[i];
    auto given = trial.given.find(name);
    if (entries.count(name) || (given == trial.given.end() && !written))
      return;
    mlir::Type stored = type.getKind() == BufferKind::value ? mlir::Float64Type::get(kernel.getContext()) : type.getElementType();
    Entry &entry = entries[name];
    bool known = given != trial.given.end();
    entry = {stored,
             encode(stored,
                    known ? given->second.data : std::vector<double>(interp::bufferSize(type, trial.launch, trial.launch.heads, kernel.getChunk()))),
             0, written};
    entry.address = memory.add(entry.bytes.data(), entry.bytes.size(), name, written ? sim::Memory::ReadWrite : sim::Memory::ReadOnly,
                               known ? sim::Memory::Initialised : sim::Memory::Uninitialised);
  }
  const Trial &trial;
};

bool simulateKernel(tile::KernelOp kernel, mlir::ModuleOp device, DeviceBuffers &buffers, const Trial &trial) {
  auto function = device.lookupSymbol<mlir::LLVM::LLVMFuncOp>(kernel.getSymName());
  if (!function)
    return complain(trial, "no function @" + kernel.getSymName().str()), false;
  std::vector<sim::Argument> arguments;
  for (unsigned i = 0; i < kernel.getBody().getNumArguments(); ++i)
    buffers.pass(kernel, i, arguments);
  arguments.push_back(trial.launch.tokens);
  arguments.push_back(trial.launch.heads);
  arguments.push_back(trial.launch.numSequences());
  arguments.push_back(0);
  int64_t points = kernel.getOverChunks() ? trial.launch.numSlots(kernel.getChunk()) : trial.launch.numSequences();
  sim::SimulateOptions options;
  options.lanes = gpu::findChip(trial.chip)->lanes;
  options.counters = false;
  sim::Report report = sim::simulate(function, arguments, points * trial.launch.heads * kernel.getBlocks(), buffers.memory, options);
  buffers.memory.launchEnds();
  if (report.ok())
    return true;
  std::string text;
  llvm::raw_string_ostream out(text);
  report.print(out);
  complain(trial, "\n" + text);
  return false;
}

} // namespace

void testing::roundTo(mlir::Type type, std::vector<double> &values) { values = decode(type, encode(type, values)); }

void testing::compare(mlir::ModuleOp module, const Trial &trial) {
  ++cases;
  interp::Buffers expected = trial.given;
  if (llvm::Error error = interp::runKernels(module, expected, trial.launch))
    return complain(trial, llvm::toString(std::move(error)));
  auto device = gpu::lowerToDeviceForm(module, trial.chip);
  if (failed(device))
    return complain(trial, "it does not lower");
  DeviceBuffers buffers(module, trial);
  for (tile::KernelOp kernel : module.getOps<tile::KernelOp>())
    if (!simulateKernel(kernel, **device, buffers, trial))
      return;
  for (auto &[name, entry] : buffers.entries) {
    if (!entry.written)
      continue;
    double error = relativeError(decode(entry.element, entry.bytes), expected[name].data);
    if (!(error <= trial.tolerance))
      complain(trial, name + ": error " + std::to_string(error) + ", tolerance " + std::to_string(trial.tolerance));
  }
}

int main() {
  auto start = std::chrono::steady_clock::now();
  for (const char *chip : {"sm_90", "gfx942", "gfx1100", "gfx1201"})
    for (const char *element : {"bf16", "f32"}) {
      testOperations(chip, element);
      testDefinitions(chip, element);
    }
  std::printf("%d kernels, %d failures, %.1f s\n", cases, failures, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  return failures ? 1 : 0;
}
