//===- SimulatorTest.cpp - does the simulator find what is planted? -------===//
//
// Kernels in device form, written by hand for both vendors: right ones must give
// the right numbers and no errors, broken ones their error. The numbers'
// formats are converted here once more, apart from the simulator's own code.
//
//===----------------------------------------------------------------------===//
#include "Harness.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/LLVMIR/ROCDLDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "llvm/ADT/APFloat.h"
#include "llvm/Support/raw_ostream.h"
#include <chrono>
#include <cmath>

using namespace mlir;
using namespace fla::sim;

namespace fla::sim::test {

int failures = 0;

void expect(bool condition, const llvm::Twine &what) {
  if (condition)
    return;
  llvm::errs() << "failed: " << what << "\n";
  ++failures;
}

void expectNear(llvm::ArrayRef<float> got, llvm::ArrayRef<float> want, double tolerance, const llvm::Twine &what) {
  expect(got.size() == want.size(), what + ": sizes");
  for (size_t i = 0; i < want.size(); ++i)
    if (!(std::abs(got[i] - want[i]) <= tolerance * (1.0 + std::abs(want[i]))))
      return expect(false, what + ": at " + llvm::Twine(i) + " got " + std::to_string(got[i]) + ", want " + std::to_string(want[i]));
}

void expectClean(const Report &report, const llvm::Twine &what) {
  expect(report.ok(), what + ": expected no errors");
  if (!report.ok())
    report.print(llvm::errs());
}

void expectError(const Report &report, ErrorKind kind, llvm::StringRef operation, const llvm::Twine &what) {
  for (const Error &error : report.errors)
    if (error.kind == kind) {
      expect(error.operation == operation, what + ": expected the error at " + operation + ", got it at " + error.operation);
      expect(!error.location.empty(), what + ": expected a location");
      return;
    }
  expect(false, what + ": expected an error of kind '" + name(kind) + "'");
  report.print(llvm::errs());
}

Report run(const Launch &launch, Memory &memory) {
  DialectRegistry registry;
  registry.insert<arith::ArithDialect, LLVM::LLVMDialect, math::MathDialect, NVVM::NVVMDialect, ROCDL::ROCDLDialect, scf::SCFDialect,
                  vector::VectorDialect>();
  MLIRContext context(registry);
  OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(launch.text, &context, "kernel.mlir");
  auto kernel = module ? module->lookupSymbol<LLVM::LLVMFuncOp>("k") : nullptr;
  expect(bool(kernel), "expected the text to have a kernel @k");
  return kernel ? simulate(kernel, launch.arguments, launch.blocks, launch.threads, launch.shared, memory, launch.options) : Report();
}

std::string without(std::string text, llvm::StringRef what, llvm::StringRef with) {
  size_t at = text.find(what.str());
  expect(at != std::string::npos, "expected '" + what + "' in the kernel");
  return at == std::string::npos ? text : text.replace(at, what.size(), with.str());
}

std::vector<float> numbers(size_t count, unsigned seed) {
  std::vector<float> values(count);
  uint32_t state = seed * 2654435761u + 12345;
  for (float &value : values) {
    state = state * 1664525u + 1013904223u;
    value = static_cast<int32_t>(state) * 0x1p-31f;
  }
  return values;
}

static uint16_t roundTo(float value, const llvm::fltSemantics &semantics) {
  llvm::APFloat number(value);
  bool lost;
  number.convert(semantics, llvm::APFloat::rmNearestTiesToEven, &lost);
  return number.bitcastToAPInt().getZExtValue();
}
static float valueOf(uint16_t bits, const llvm::fltSemantics &semantics) {
  llvm::APFloat number(semantics, llvm::APInt(16, bits));
  bool lost;
  number.convert(llvm::APFloat::IEEEsingle(), llvm::APFloat::rmNearestTiesToEven, &lost);
  return number.convertToFloat();
}
uint16_t toBfloat(float value) { return roundTo(value, llvm::APFloat::BFloat()); }
uint16_t toHalf(float value) { return roundTo(value, llvm::APFloat::IEEEhalf()); }
float fromBfloat(uint16_t bits) { return valueOf(bits, llvm::APFloat::BFloat()); }
float fromHalf(uint16_t bits) { return valueOf(bits, llvm::APFloat::IEEEhalf()); }

std::vector<uint16_t> rounded(llvm::ArrayRef<float> values, uint16_t (*round)(float)) {
  std::vector<uint16_t> result;
  for (float value : values)
    result.push_back(round(value));
  return result;
}

std::vector<float> product(llvm::ArrayRef<uint16_t> a, llvm::ArrayRef<uint16_t> b, unsigned m, unsigned n, unsigned k, float (*get)(uint16_t)) {
  std::vector<float> c(m * n);
  for (unsigned i = 0; i < m; ++i)
    for (unsigned j = 0; j < n; ++j) {
      double sum = 0;
      for (unsigned l = 0; l < k; ++l)
        sum += double(get(a[i * k + l])) * get(b[l * n + j]);
      c[i * n + j] = sum;
    }
  return c;
}

} // namespace fla::sim::test

using namespace fla::sim::test;

int main() {
  for (auto [what, test] : {std::pair<const char *, void (*)()>("core", testCore),
                            {"checks", testChecks},
                            {"copies", testCopies},
                            {"NVIDIA", testNVIDIA},
                            {"AMD", testAMD}}) {
    auto start = std::chrono::steady_clock::now();
    int before = failures;
    test();
    double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    llvm::outs() << what << ": " << (failures == before ? "passed" : "FAILED") << ", " << llvm::format("%.2f s", seconds) << "\n";
  }
  return failures != 0;
}
