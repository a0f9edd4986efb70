//===- Simulated.h - tile kernels on a simulated GPU ------------*- C++ -*-===//
#ifndef FLA_UNITTESTS_GPU_SIMULATED_H
#define FLA_UNITTESTS_GPU_SIMULATED_H

#include "fla/Interpreter/Kernels.h"
#include "mlir/IR/BuiltinOps.h"
#include <map>
#include <string>
#include <vector>

namespace fla::testing {

/// Where and how a module of tile kernels runs. Buffers that `given` lacks are
/// left out, unless a kernel writes them.
struct Run {
  std::string chip;
  interp::Buffers given;
  interp::Launch launch;
  bool counters = false; ///< look for bank conflicts
};

/// An access to shared memory in more than one way.
struct Conflict {
  std::string kernel, operation, location;
  unsigned ways = 0;    ///< at worst
  double average = 0.0; ///< cycles a phase
  bool repeated = false; ///< for every chunk, or in another loop
};

struct Outcome {
  /// What went wrong: it does not lower, or what the simulator complains of.
  std::string problem;
  /// Complaints by their kind, as the simulator names it.
  std::map<std::string, uint64_t> complaints;
  /// Buffers that kernels wrote, in doubles.
  std::map<std::string, std::vector<double>> written;
  /// Accesses of more than two ways, the worst first.
  std::vector<Conflict> conflicts;
};

/// Lowers the kernels for the chip and simulates them in their order.
Outcome simulateKernels(mlir::ModuleOp module, const Run &run);

/// Rounds numbers to what an element type holds.
void roundTo(mlir::Type type, std::vector<double> &values);

/// A context with all dialects, one for the process.
mlir::MLIRContext *context();

} // namespace fla::testing

#endif
