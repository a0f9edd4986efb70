//===- GeneratedDefinitions.cpp - definitions on every family of chips ----===//
//
// Forward and reverse kernels of small definitions with a ragged last chunk.
//
//===----------------------------------------------------------------------===//
#include "Generated.h"

#include "Roles.h"
#include "Rungs.h"
#include "mlir/Parser/Parser.h"
#include <cstdio>

using namespace fla;
using namespace fla::testing;

namespace {

void complain(const std::string &name, const std::string &what) {
  ++failures;
  std::printf("FAIL %s: %s\n", name.c_str(), what.c_str());
}

/// What the caller passes, rounded to what the kernels' buffers hold.
interp::Buffers given(mlir::ModuleOp module, const check::Problem &problem) {
  interp::Buffers buffers;
  for (tile::KernelOp kernel : module.getOps<tile::KernelOp>()) {
    auto roles = kernel->getAttrOfType<mlir::ArrayAttr>("roles");
    for (auto [i, argument] : llvm::enumerate(kernel.getBody().getArguments())) {
      auto type = mlir::cast<tile::BufferType>(argument.getType());
      auto value = check::givenValue(mlir::cast<mlir::StringAttr>(roles[i]).getValue(), kernel.getArgName(i), problem);
      if (!value)
        continue;
      if (type.getKind() != tile::BufferKind::value)
        roundTo(type.getElementType(), value->data);
      buffers[kernel.getArgName(i).str()] = {value->data, 1};
    }
  }
  return buffers;
}

void run(const std::string &model, const std::string &chip, const std::string &element, bool backward) {
  std::string name = model + (backward ? " reverse (" : " (") + element + ")";
  auto source = mlir::parseSourceFile<mlir::ModuleOp>(FLA_MODELS + model + ".mlir", context());
  if (!source)
    return complain(name, "cannot parse");
  RecurrenceOp definition = *source->getOps<RecurrenceOp>().begin();
  interp::Sizes dims;
  dims["K"] = 32, dims["V"] = 64;
  check::Case kind;
  kind.tokens = 40;
  auto problem = check::makeProblem(definition, kind, check::chooseDims(definition, dims), 3);
  if (!problem)
    return complain(name, llvm::toString(problem.takeError()));
  CompileOptions options;
  options.entry = definition.getSymName().str();
  options.dims = problem->dims;
  options.target = (chip.find("sm_") == 0 ? "cuda:" : "hip:") + chip;
  options.dtype = element;
  options.chunk = 32;
  options.forward = !backward;
  options.backward = backward;
  options.until = Phase::Kernelize;
  if (failed(runPhases(*source, options)))
    return complain(name, "cannot compile");
  Trial trial{name, chip, given(*source, *problem), {}, element == "f32" ? 2e-5 : 1.5e-2};
  trial.launch.tokens = problem->tokens;
  compare(*source, trial);
}

} // namespace

void testing::testDefinitions(const std::string &chip, const std::string &element) {
  for (const char *model : {"gated_delta_rule", "simple_gla", "gla"})
    for (bool backward : {false, true})
      run(model, chip, element, backward);
}
