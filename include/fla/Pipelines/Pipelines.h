//===- Pipelines.h - the phases, in order -----------------------*- C++ -*-===//
//
// The only place that names phases and orders passes.
//
//===----------------------------------------------------------------------===//
#ifndef FLA_PIPELINES_PIPELINES_H
#define FLA_PIPELINES_PIPELINES_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/JSON.h"
#include <string>

namespace fla {

/// One enum drives `until=`, dumps and documentation.
enum class Phase { Define, Normalize, Chunk, Differentiate, Kernelize, Layout, Target };
llvm::StringRef phaseName(Phase phase);
std::optional<Phase> parsePhase(llvm::StringRef name);

/// What to compile a definition for.
struct CompileOptions {
  std::string target = "cpu";              ///< or "cuda:sm_90", "hip:gfx942", ...
  std::string precision = "ieee";          ///< how a GPU multiplies f32: "ieee" or "tf32"
  std::string entry;                       ///< the definition; empty: the only one
  llvm::StringMap<int64_t> dims;           ///< sizes; unnamed ones default (K = V = 128, others 64)
  std::string dtype = "f32";               ///< storage type of inputs and outputs
  llvm::StringMap<std::string> dtypes;     ///< storage type of single arguments
  std::string form = "chunk";              ///< or "recurrent"
  bool forward = true, backward = true;    ///< which directions are compiled
  std::vector<std::string> absent;         ///< inputs that take their default
  int64_t chunk = 0;                       ///< tokens a chunk; 0: chosen from the program
  int64_t blocks = 1;                      ///< column blocks of the grid, at most
  bool saveStates = false;                 ///< the forward saves the state at each chunk's start
  Phase until = Phase::Target;
};

/// Reads the JSON of the C API (see fla-c/fla.h).
llvm::Expected<CompileOptions> parseOptions(llvm::StringRef json);

/// Options that no phase can honour.
llvm::Error checkOptions(const CompileOptions &options);

void registerDialects(mlir::DialectRegistry &registry);
void registerPasses();

/// Runs the phases up to and including `options.until` on a module with definitions.
mlir::LogicalResult runPhases(mlir::ModuleOp module, const CompileOptions &options);

/// Adds the passes of the phases up to `options.until`.
void buildPipeline(mlir::OpPassManager &pm, const CompileOptions &options);

} // namespace fla

#endif
