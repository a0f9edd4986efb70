//===- Compile.cpp - a definition alone, taken to a phase -----------------===//
#include "Rungs.h"

using namespace mlir;
using namespace fla;
using namespace fla::check;

CompileOptions Subject::compileOptions(Phase until, bool forward, bool backward) const {
  RecurrenceOp named = definition; // accessors of operations are not const
  CompileOptions options;
  options.entry = named.getSymName().str();
  options.dims = dims;
  options.target = target;
  options.dtype = dtype;
  options.form = form;
  options.absent = absent;
  options.forward = forward;
  options.backward = backward;
  options.until = until;
  return options;
}

llvm::Expected<std::shared_ptr<OwningOpRef<ModuleOp>>> check::compile(const Subject &subject, Phase until, bool forward, bool backward) {
  RecurrenceOp definition = subject.definition;
  auto module = std::make_shared<OwningOpRef<ModuleOp>>(ModuleOp::create(definition.getLoc()));
  (*module)->push_back(definition->clone());
  std::string diagnostics;
  ScopedDiagnosticHandler handler(definition.getContext(), [&](Diagnostic &diagnostic) {
    if (!diagnostics.empty())
      diagnostics += "; ";
    diagnostics += diagnostic.str();
    return success();
  });
  if (failed(runPhases(**module, subject.compileOptions(until, forward, backward))))
    return llvm::createStringError(diagnostics.empty() ? "the compiler failed without a diagnostic" : diagnostics);
  return module;
}
