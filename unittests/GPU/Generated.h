//===- Generated.h - generated GPU kernels in the simulator -----*- C++ -*-===//
#ifndef FLA_UNITTESTS_GPU_GENERATED_H
#define FLA_UNITTESTS_GPU_GENERATED_H

#include "fla/Interpreter/Kernels.h"
#include "mlir/IR/BuiltinOps.h"
#include <string>

namespace fla::testing {

extern int failures, cases;

mlir::MLIRContext *context();

/// What a module of tile kernels is run on, and how close it must come. Buffers
/// that `given` lacks are left out, unless a kernel writes them.
struct Trial {
  std::string name, chip;
  interp::Buffers given;
  interp::Launch launch;
  double tolerance;
};

/// Lowers the kernels for the chip, simulates them, and compares everything that
/// they write with what the tile interpreter says; the simulator may not complain.
void compare(mlir::ModuleOp module, const Trial &trial);

/// Rounds numbers to what an element type holds.
void roundTo(mlir::Type type, std::vector<double> &values);

/// Small kernels, each of one operation or a few.
void testOperations(const std::string &chip, const std::string &element);
/// Definitions of the library.
void testDefinitions(const std::string &chip, const std::string &element);

} // namespace fla::testing

#endif
