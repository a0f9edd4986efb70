//===- fla-opt.cpp - runs passes and phases over MLIR files ---------------===//
#include "fla/Pipelines/Pipelines.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/Support/CommandLine.h"

static constexpr char kOverview[] =
    "fla-opt: the fla compiler's passes\n\n"
    "  fla-opt FILE                                          parse, verify and print\n"
    "  fla-opt FILE --fla-compile=\"until=normalize\"          the canonical program and its class\n"
    "  fla-opt FILE --fla-compile=\"until=chunk\"              the chunkwise form\n"
    "  fla-opt FILE --fla-compile=\"dims=K:64,V:64 dtype=f32 grad=true until=kernelize\"\n\n"
    "Phases: define, normalize, chunk, differentiate, kernelize, layout, target.\n";

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  fla::registerDialects(registry);
  fla::registerPasses();
  mlir::registerTransformsPasses();
  llvm::cl::OptionCategory category("fla-opt options");
  llvm::cl::HideUnrelatedOptions(category); // LLVM's own hundreds; passes are still to come
  return mlir::asMainReturnCode(mlir::MlirOptMain(argc, argv, kOverview, registry));
}
