//===- Normalized.cpp - runs the canonical program ------------------------===//
#include "Rungs.h"

using namespace mlir;
using namespace fla;
using namespace fla::check;

llvm::Expected<Executor> check::normalizedExecutor(const Subject &subject) {
  auto module = compile(subject, Phase::Normalize);
  if (!module)
    return module.takeError();
  auto programs = (**module)->getOps<ProgramOp>();
  if (programs.empty())
    return llvm::createStringError("expected an 'fla.program' after normalisation, got none");
  ProgramOp program = *programs.begin();
  return Executor([module = *module, program](const Problem &problem) {
    return solveByTape(program, problem);
  });
}
