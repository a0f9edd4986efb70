//===- Rungs.h - what executes the result of each phase ---------*- C++ -*-===//
#ifndef FLA_LIB_CHECK_RUNGS_H
#define FLA_LIB_CHECK_RUNGS_H

#include "fla/Check/Ladder.h"

namespace fla::check {

/// Executes a compiled form of a definition on a problem. Results that it does
/// not compute (gradients, for a forward) stay empty.
using Executor = std::function<llvm::Expected<Answer>(const Problem &)>;

/// What is being compiled, and how.
struct Subject {
  RecurrenceOp definition;
  Sizes dims;
  std::vector<std::string> absent;
  std::string form = "chunk", dtype = "f64", target = "cpu";
  CompileOptions compileOptions(Phase until, bool forward, bool backward) const;
};

/// The definition in a module of its own, after a phase; diagnostics become the error.
llvm::Expected<std::shared_ptr<mlir::OwningOpRef<mlir::ModuleOp>>> compile(const Subject &subject, Phase until, bool forward = true, bool backward = true);

/// Central differences of the token loop: the oracle's own check. Returns the
/// largest error over the arguments.
llvm::Expected<Distance> checkOracle(RecurrenceOp definition, const Problem &problem, uint64_t seed);

/// Runs the `fla.program`; its gradients by tape, too.
llvm::Expected<Executor> normalizedExecutor(const Subject &subject);
/// Runs the forward `chunk.program` and, if `backward`, the reverse one.
llvm::Expected<Executor> chunkedExecutor(const Subject &subject, bool backward);
/// Runs the kernels of one direction in the interpreter.
llvm::Expected<Executor> kernelizedExecutor(const Subject &subject, bool backward);
/// Compiles one direction through the C API and runs it.
llvm::Expected<Executor> jitExecutor(const Subject &subject, bool backward);

/// The problem with every argument rounded to its type in memory.
Problem roundProblem(RecurrenceOp definition, Problem problem, llvm::StringRef dtype);

/// What later phases call an output.
std::string outputName(size_t index, size_t count);

} // namespace fla::check

#endif
