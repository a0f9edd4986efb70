//===- Compiler.h - from source text to a loaded program --------*- C++ -*-===//
#ifndef FLA_LIB_CAPI_COMPILER_H
#define FLA_LIB_CAPI_COMPILER_H

#include "fla/Pipelines/Pipelines.h"
#include "fla/Runtime/DeviceProgram.h"
#include "fla/Runtime/Launch.h"
#include "fla/Runtime/Loader.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"

namespace fla::capi {

/// A context and one module with the definition asked for; diagnostics as text.
class Source {
public:
  static llvm::Expected<std::unique_ptr<Source>> parse(llvm::StringRef text, llvm::StringRef entry);
  mlir::ModuleOp getModule() { return *module; }
  /// Runs `action`; on failure an error with the diagnostics it gave.
  llvm::Error run(llvm::function_ref<mlir::LogicalResult()> action);

private:
  Source();
  llvm::Error selectEntry(llvm::StringRef entry);
  mlir::MLIRContext context;
  std::string text;
  mlir::OwningOpRef<mlir::ModuleOp> module;
};

/// A kernel of a program and where it finds its buffers.
struct Call {
  runtime::Kernel kernel;
  std::vector<int64_t> arguments; ///< indices into the program's arguments
};

/// Code for the host's processor (`code`, `calls`) or for a GPU (`device`).
struct Program {
  std::string manifest;
  std::vector<std::string> names;
  std::vector<Call> calls;
  std::unique_ptr<runtime::LoadedObject> code;
  std::unique_ptr<runtime::DeviceProgram> device;
};

/// Compiles, or takes from the cache.
llvm::Expected<std::unique_ptr<Program>> compile(llvm::StringRef source, llvm::StringRef optionsText);

/// Definition, arguments, states and classes as JSON.
llvm::Expected<llvm::json::Value> describe(llvm::StringRef source, llvm::StringRef optionsText);

int64_t numCompilations();

} // namespace fla::capi

#endif
