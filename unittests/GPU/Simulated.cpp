//===- Simulated.cpp - tile kernels on a simulated GPU --------------------===//
#include "Simulated.h"

#include "fla/Dialect/Tile/IR/Tile.h"
#include "fla/Pipelines/Pipelines.h"
#include "fla/Simulator/Simulator.h"
#include "fla/Target/GPU/GPU.h"

#include "fla-c/launch.h"
#include "llvm/ADT/APFloat.h"
#include <cstring>

using namespace fla;
using namespace fla::testing;
using tile::BufferKind;

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

//===----------------------------------------------------------------------===//
// Numbers
//===----------------------------------------------------------------------===//

/// Numbers as an element type stores them, and back.
static std::vector<char> encode(mlir::Type type, const std::vector<double> &values) {
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

static std::vector<double> decode(mlir::Type type, const std::vector<char> &bytes) {
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

void testing::roundTo(mlir::Type type, std::vector<double> &values) { values = decode(type, encode(type, values)); }

//===----------------------------------------------------------------------===//
// Buffers
//===----------------------------------------------------------------------===//

namespace {

/// The buffers of a module's kernels in the simulator's memory, by name.
class DeviceBuffers {
public:
  struct Entry {
    mlir::Type element;
    std::vector<char> bytes;
    uint64_t address;
    int64_t heads;
    bool written;
  };
  DeviceBuffers(mlir::ModuleOp module, const Run &run) : run(run) {
    module.walk([&](tile::KernelOp kernel) {
      for (auto [i, argument] : llvm::enumerate(kernel.getBody().getArguments()))
        add(kernel, i, mlir::cast<tile::BufferType>(argument.getType()));
    });
    if (!run.launch.offsets.empty())
      offsets = memory.add(const_cast<int64_t *>(run.launch.offsets.data()), run.launch.offsets.size() * 8, "cu_seqlens", sim::Memory::ReadOnly);
  }
  FlaLaunchBuffer operator()(tile::KernelOp kernel, unsigned i) const {
    auto type = mlir::cast<tile::BufferType>(kernel.getBody().getArgument(i).getType());
    auto it = entries.find(kernel.getArgName(i).str());
    bool absent = it == entries.end();
    int64_t heads = absent ? run.launch.heads : it->second.heads, inner = 1;
    for (int64_t size : type.getShape())
      inner *= size;
    int64_t row = heads * inner;
    return {absent ? 0 : it->second.address, type.getKind() == BufferKind::token ? run.launch.tokens * row : row, row, inner,
            run.launch.heads / heads};
  }
  std::map<std::string, Entry> entries;
  sim::Memory memory;
  uint64_t offsets = 0;

private:
  void add(tile::KernelOp kernel, unsigned i, tile::BufferType type) {
    std::string name = kernel.getArgName(i).str();
    bool written = kernel.getOutputs()[i];
    auto given = run.given.find(name);
    bool known = given != run.given.end();
    if (entries.count(name) || (!known && !written))
      return;
    mlir::Type stored = type.getKind() == BufferKind::value ? mlir::Float64Type::get(kernel.getContext()) : type.getElementType();
    int64_t heads = known ? given->second.heads : run.launch.heads;
    Entry &entry = entries[name];
    std::vector<double> nothing(known ? 0 : interp::bufferSize(type, run.launch, heads, kernel.getChunk()));
    entry = {stored, encode(stored, known ? given->second.data : nothing), 0, heads, written};
    entry.address = memory.add(entry.bytes.data(), entry.bytes.size(), name, written ? sim::Memory::ReadWrite : sim::Memory::ReadOnly,
                               known ? sim::Memory::Initialised : sim::Memory::Uninitialised);
  }
  const Run &run;
};

} // namespace

//===----------------------------------------------------------------------===//
// Launches
//===----------------------------------------------------------------------===//

static void collectConflicts(tile::KernelOp kernel, const sim::Report &report, std::vector<Conflict> &list) {
  for (const sim::SharedAccess &access : report.shared)
    if (access.ways > 1)
      list.push_back({kernel.getSymName().str(), access.operation, access.location, access.ways, double(access.cycles) / access.phases,
                      access.repeated || kernel.getOverChunks()});
}

static void simulateKernel(tile::KernelOp kernel, mlir::ModuleOp device, DeviceBuffers &buffers, const Run &run, Outcome &outcome) {
  auto function = device.lookupSymbol<mlir::LLVM::LLVMFuncOp>(kernel.getSymName());
  if (!function) {
    outcome.problem = "no function @" + kernel.getSymName().str();
    return;
  }
  std::vector<FlaLaunchBuffer> list;
  for (unsigned i = 0; i < kernel.getBody().getNumArguments(); ++i)
    list.push_back(buffers(kernel, i));
  FlaLaunchSizes sizes = {run.launch.batch, run.launch.tokens, run.launch.heads, run.launch.numSequences(), buffers.offsets};
  FlaLaunchKernel facts = {int64_t(kernel.getChunk()), int64_t(kernel.getBlocks()), kernel.getOverChunks()};
  std::vector<uint64_t> values(fla_launch_parameters(list.size()));
  fla_launch_fill(list.data(), list.size(), &sizes, values.data(), nullptr);
  sim::SimulateOptions options;
  options.lanes = gpu::findChip(run.chip)->lanes;
  options.counters = run.counters;
  sim::Report report =
      sim::simulate(function, std::vector<sim::Argument>(values.begin(), values.end()), fla_launch_grid(&facts, &sizes), buffers.memory, options);
  buffers.memory.launchEnds();
  collectConflicts(kernel, report, outcome.conflicts);
  if (report.ok())
    return;
  llvm::raw_string_ostream out(outcome.problem);
  out << "\n@" << kernel.getSymName() << ":\n";
  report.print(out, /*ways=*/~0u);
  for (const sim::Error &error : report.errors)
    outcome.complaints[sim::name(error.kind).str()] += error.count;
}

Outcome testing::simulateKernels(mlir::ModuleOp module, const Run &run) {
  Outcome outcome;
  std::string diagnostics;
  mlir::ScopedDiagnosticHandler handler(module.getContext(), [&](mlir::Diagnostic &diagnostic) {
    diagnostics += (diagnostics.empty() ? "" : "; ") + diagnostic.str();
    return mlir::success();
  });
  auto device = gpu::lowerToDeviceForm(module, run.chip);
  if (failed(device)) {
    outcome.problem = "it does not lower: " + diagnostics;
    return outcome;
  }
  DeviceBuffers buffers(module, run);
  for (tile::KernelOp kernel : module.getOps<tile::KernelOp>())
    if (outcome.problem.empty())
      simulateKernel(kernel, **device, buffers, run, outcome);
  llvm::sort(outcome.conflicts, [](const Conflict &a, const Conflict &b) { return a.ways > b.ways; });
  for (auto &[name, entry] : buffers.entries)
    if (entry.written)
      outcome.written[name] = decode(entry.element, entry.bytes);
  return outcome;
}
