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

/// A kernel like those above under another name.
static std::string named(StringRef source, StringRef name) {
  auto [head, rest] = source.split('@');
  return (head + "@" + name + rest.drop_front(rest.find('('))).str();
}

static std::vector<size_t> placesOf(StringRef what, StringRef text) {
  std::vector<size_t> places;
  for (size_t at = text.find(what); at != StringRef::npos; at = text.find(what, at + 1))
    places.push_back(at);
  return places;
}

static void testSeveralKernels() {
  constexpr StringRef shared = "llvm.mlir.global external @fla_shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>\n";
  std::string source = shared.str(), text;
  for (const char *name : {"a", "b", "c", "d", "e"})
    source += named(kNvidia, name);
  auto code = compile(source.c_str(), *findChip("sm_90"), /*binary=*/false, text);
  expect(succeeded(code), "several kernels: " + text);
  if (failed(code))
    return;
  expect(placesOf(".version", code->code).size() == 1 && placesOf(".extern .shared", code->code).size() <= 1, "one head for all kernels");
  std::vector<size_t> order;
  for (const KernelResources &kernel : code->kernels) {
    auto places = placesOf(".entry " + kernel.name + "(", code->code);
    expect(places.size() == 1, "kernel " + kernel.name + " once");
    order.insert(order.end(), places.begin(), places.end());
  }
  expect(order.size() == 5 && llvm::is_sorted(order), "kernels in the module's order");
  auto again = compile(source.c_str(), *findChip("sm_90"), /*binary=*/false, text);
  expect(succeeded(again) && again->code == code->code, "the same text each time");

  // One of several makes the code generator give up.
  auto fatal = compile((named(kNvidia, "a") + named(kFatal, "b") + named(kNvidia, "c")).c_str(), *findChip("sm_80"), false, text);
  expect(failed(fatal) && StringRef(text).contains("annot select"), "a fatal error in one of three: " + text);

  // Kernels that call a function have it once.
  constexpr StringRef half = "llvm.func internal @half(%x: i32) -> i32 attributes {no_inline} {\n  %one = llvm.mlir.constant(1 : i32) : i32\n"
                             "  %y = llvm.ashr %x, %one : i32\n  llvm.return %y : i32\n}\n";
  std::string caller(kNvidia);
  caller.replace(caller.find("  llvm.store %tid"), 0, "  %h = llvm.call @half(%tid) : (i32) -> i32\n");
  caller.replace(caller.find("llvm.store %tid"), 15, "llvm.store %h");
  text.clear();
  auto calls = compile((half.str() + named(caller, "a") + named(caller, "b")).c_str(), *findChip("sm_90"), false, text);
  expect(succeeded(calls) && placesOf(".entry", calls->code).size() == 2 && placesOf("call.uni", calls->code).size() == 2, "a function of two: " + text);
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
  testSeveralKernels();
  testThreads();
  std::printf("SerializeTest: %d failures\n", failures.load());
  return failures != 0;
}
