//===- Programs.h - run a definition or a chunk program ---------*- C++ -*-===//
//
// One sequence of one head. Values are found by the name of their argument;
// per-token values have a leading `tokens` axis.
//
//===----------------------------------------------------------------------===//
#ifndef FLA_INTERPRETER_PROGRAMS_H
#define FLA_INTERPRETER_PROGRAMS_H

#include "fla/Interpreter/Evaluate.h"
#include <map>
#include <string>

namespace fla::chunk {
class ProgramOp;
}

namespace fla::interp {

template <class S> using Named = std::map<std::string, Tensor<S>>;

template <class S> struct StepResult {
  std::vector<Tensor<S>> outputs; ///< [tokens, ...], in the order of the yield
  Named<S> states;                ///< the state after the last token
};

/// Runs an `fla.recurrence` or `fla.program` token by token. `values` holds
/// inputs `[tokens, ...]` and parameters `[...]`; an input that is missing takes
/// its `default`, a state that is missing its `init` (or 0).
template <class S>
llvm::Expected<StepResult<S>> runSteps(mlir::Operation *definition, const Named<S> &values, int64_t tokens, const Sizes &dims);

template <class S> struct ChunkResult {
  Named<S> tokens;  ///< [tokens, ...]
  Named<S> carries; ///< after the last chunk visited
  Named<S> saved;   ///< [chunks, ...]
  Named<S> sums;    ///< summed over the chunks
};

/// Runs a `chunk.program` over the chunks of a sequence, in its direction.
/// `values` holds token arguments `[tokens, ...]`, parameters and initial
/// carries `[...]`, and saved values `[chunks, ...]`.
template <class S>
llvm::Expected<ChunkResult<S>> runChunks(chunk::ProgramOp program, const Named<S> &values, int64_t tokens, int64_t chunkSize, const Sizes &dims);

extern template llvm::Expected<StepResult<double>> runSteps(mlir::Operation *, const Named<double> &, int64_t, const Sizes &);
extern template llvm::Expected<StepResult<Var>> runSteps(mlir::Operation *, const Named<Var> &, int64_t, const Sizes &);
extern template llvm::Expected<ChunkResult<double>> runChunks(chunk::ProgramOp, const Named<double> &, int64_t, int64_t, const Sizes &);
extern template llvm::Expected<ChunkResult<Var>> runChunks(chunk::ProgramOp, const Named<Var> &, int64_t, int64_t, const Sizes &);

} // namespace fla::interp

#endif
