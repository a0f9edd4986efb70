//===- Harness.h - kernels written by hand, run and judged ------*- C++ -*-===//
#ifndef FLA_UNITTESTS_SIMULATOR_HARNESS_H
#define FLA_UNITTESTS_SIMULATOR_HARNESS_H

#include "fla/Simulator/Simulator.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/Twine.h"
#include <functional>
#include <string>
#include <vector>

namespace fla::sim::test {

extern int failures;
void expect(bool condition, const llvm::Twine &what);
void expectNear(llvm::ArrayRef<float> got, llvm::ArrayRef<float> want, double tolerance, const llvm::Twine &what);
/// The report has no errors.
void expectClean(const Report &report, const llvm::Twine &what);
/// The report has errors of this kind, and the first is at an operation of this name.
void expectError(const Report &report, ErrorKind kind, llvm::StringRef operation, const llvm::Twine &what);

/// A launch of @k in a module's text.
struct Launch {
  std::string text;
  std::vector<Argument> arguments;
  int64_t blocks = 1, threads = 32, shared = 0;
  SimulateOptions options = {};
};
Report run(const Launch &launch, Memory &memory);

/// The text with its first occurrence of `what` replaced; the test fails if there is none.
std::string without(std::string text, llvm::StringRef what, llvm::StringRef with = "");

/// Numbers in [-1, 1) that every run repeats.
std::vector<float> numbers(size_t count, unsigned seed);
uint16_t toBfloat(float value);
uint16_t toHalf(float value);
float fromBfloat(uint16_t bits);
float fromHalf(uint16_t bits);
std::vector<uint16_t> rounded(llvm::ArrayRef<float> values, uint16_t (*round)(float));
/// c[i][j] = sum over l of a[i][l] b[l][j], in double precision.
std::vector<float> product(llvm::ArrayRef<uint16_t> a, llvm::ArrayRef<uint16_t> b, unsigned m, unsigned n, unsigned k, float (*get)(uint16_t));

void testCore();
void testChecks();
void testCopies();
void testNVIDIA();
void testAMD();

} // namespace fla::sim::test

#endif // FLA_UNITTESTS_SIMULATOR_HARNESS_H
