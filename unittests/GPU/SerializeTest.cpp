//===- SerializeTest.cpp - chips, occupancy, compiling in threads ---------===//
#include "fla/Target/GPU/Serialize.h"

#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"

#include <atomic>
#include <cmath>
#include <cstdio>
#include <thread>

using namespace mlir;
using namespace fla::gpu;

static std::atomic<int> failures = 0;

static void expect(bool condition, const std::string &what) {
  if (condition)
    return;
  std::printf("FAIL: %s\n", what.c_str());
  ++failures;
}

//===----------------------------------------------------------------------===//
// The table
//===----------------------------------------------------------------------===//

static void testChips() {
  expect(findChip("sm_90") && findChip("sm_90")->name == "sm_90", "sm_90 is known");
  expect(!findChip("sm_75") && !findChip(""), "other names are not");
  expect(chipNames(Vendor::AMD) == "gfx90a, gfx942, gfx950, gfx1100, gfx1201", "the names of AMD's chips");
  for (const Chip &chip : allChips()) {
    std::string name = chip.name.str();
    bool isNvidia = chip.vendor == Vendor::NVIDIA;
    expect(isNvidia == (chip.matrixUnit == MatrixUnit::MmaSync), name + ": the matrix unit is the vendor's");
    expect((chip.lanes == 64) == (chip.matrixUnit == MatrixUnit::MFMA), name + ": 64 lanes on CDNA only");
    expect(chip.sharedBytes + chip.blockSharedReserve <= chip.unitSharedBytes, name + ": one block's most fits on a unit");
    expect(chip.tf32 == (chip.peak.tf32TFlops > 0), name + ": a rate of tf32 where there is tf32");
    expect(chip.registers * chip.lanes <= chip.unitRegisters, name + ": a warp's most registers fit on a unit");
  }
}

static void testOccupancy() {
  const Chip &h100 = *findChip("sm_90"), &mi300 = *findChip("gfx942");
  expect(residentBlocks(h100, {128, 0, 0}) == 16, "64 warps are 16 blocks of 128 threads");
  expect(residentBlocks(h100, {128, 168, 0}) == 3, "registers limit: 65536 / (168 * 128)");
  expect(residentBlocks(h100, {128, 32, 100 * 1024}) == 2, "shared memory limits: 228 / (100 + 1) KiB");
  expect(residentBlocks(h100, {128, 32, 228 * 1024}) == 0, "more than a block may have");
  expect(residentBlocks(mi300, {256, 128, 0}) == 4, "131072 / (128 * 256)");
  expect(residentBlocks(mi300, {256, 128, 64 * 1024}) == 1, "all of the LDS");
  expect(std::abs(occupancy(h100, {128, 168, 0}) - 12.0 / 64) < 1e-12, "12 of 64 warps");
}

//===----------------------------------------------------------------------===//
// Compiling
//===----------------------------------------------------------------------===//

static constexpr char kNvidia[] = R"(
llvm.func @store(%p: !llvm.ptr<1>) attributes {fla.gpu_kernel, fla.threads = 64 : i64, fla.shared = 0 : i64, fla.chunk = 32 : i64, fla.blocks = 2 : i64, fla.over_chunks} {
  %tid = nvvm.read.ptx.sreg.tid.x : i32
  llvm.store %tid, %p : i32, !llvm.ptr<1>
  llvm.return
})";

static constexpr char kAmd[] = R"(
llvm.func @store(%p: !llvm.ptr<1>) attributes {fla.gpu_kernel, fla.threads = 64 : i64, fla.shared = 0 : i64} {
  %tid = rocdl.workitem.id.x : i32
  llvm.store %tid, %p : i32, !llvm.ptr<1>
  llvm.return
})";

/// Makes the code generator of NVIDIA's chips give up.
static constexpr char kFatal[] = R"(
llvm.func @fatal(%p: !llvm.ptr<1>) attributes {fla.gpu_kernel, fla.threads = 64 : i64, fla.shared = 0 : i64} {
  %r = llvm.call_intrinsic "llvm.amdgcn.workitem.id.x"() : () -> i32
  llvm.store %r, %p : i32, !llvm.ptr<1>
  llvm.return
})";

/// Compiles in a context of its own; diagnostics go to `text`.
static FailureOr<GPUCode> compile(const char *source, const Chip &chip, bool binary, std::string &text) {
  DialectRegistry registry;
  registerDeviceDialects(registry);
  MLIRContext context(registry, MLIRContext::Threading::DISABLED);
  ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
    text += diagnostic.str();
    return success();
  });
  OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(source, &context);
  if (!module)
    return failure();
  return compileDevice(*module, chip, binary);
}

static void testKernels() {
  std::string text;
  auto code = compile(kNvidia, *findChip("sm_90"), /*binary=*/false, text);
  expect(succeeded(code), "PTX: " + text);
  if (failed(code))
    return;
  const KernelResources &kernel = code->kernels.front();
  expect(code->format == "ptx" && code->kernels.size() == 1 && kernel.name == "store", "one kernel of PTX");
  expect(kernel.chunk == 32 && kernel.blocks == 2 && kernel.overChunks && kernel.threads == 64, "how to launch it");
  expect(kernel.registers == -1, "PTX knows no registers");
}

/// One thread's work: code of both vendors and a fatal error, again and again.
static void compileAll(int rounds) {
  for (int round = 0; round < rounds; ++round) {
    std::string text;
    auto ptx = compile(kNvidia, *findChip("sm_80"), false, text);
    expect(succeeded(ptx) && StringRef(ptx->code).contains(".entry store("), "PTX in a thread: " + text);
    auto hsaco = compile(kAmd, *findChip("gfx942"), true, text);
    expect(succeeded(hsaco) && hsaco->kernels.front().registers > 0, "an hsaco in a thread: " + text);
    auto fatal = compile(kFatal, *findChip("sm_80"), false, text);
    expect(failed(fatal) && StringRef(text).contains("annot select"), "a fatal error in a thread: " + text);
  }
}

static void testThreads() {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back(compileAll, 5);
  for (std::thread &thread : threads)
    thread.join();
}

int main() {
  testChips();
  testOccupancy();
  testKernels();
  testThreads();
  std::printf("SerializeTest: %d failures\n", failures.load());
  return failures != 0;
}
