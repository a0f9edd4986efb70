//===- Generated.h - generated GPU kernels in the simulator -----*- C++ -*-===//
#ifndef FLA_UNITTESTS_GPU_GENERATED_H
#define FLA_UNITTESTS_GPU_GENERATED_H

#include "Simulated.h"

namespace fla::testing {

extern int failures, cases;

/// What a module of tile kernels is run on, and how close it must come.
struct Trial {
  std::string name;
  Run run;
  double tolerance;
};

/// Simulates the kernels and compares everything that they write with what the tile
/// interpreter says; the simulator may not complain.
void compare(mlir::ModuleOp module, const Trial &trial);

/// Small kernels, each of one operation or a few.
void testOperations(const std::string &chip, const std::string &element);

} // namespace fla::testing

#endif
