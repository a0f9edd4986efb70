//===- Problem.h - what a definition is tried on ----------------*- C++ -*-===//
#ifndef FLA_CHECK_PROBLEM_H
#define FLA_CHECK_PROBLEM_H

#include "fla/Interpreter/Programs.h"

namespace fla::check {

using interp::Named;
using interp::Sizes;
using interp::Tensor;

/// How strongly a state decays: log gates (arguments with `max = 0`) are drawn
/// from U(-0.02, 0), U(-5, 0), or are 0 or -60 everywhere.
enum class Gates { Weak, Strong, Zero, Deep };

/// One family of inputs.
struct Case {
  Gates gates = Gates::Weak;
  bool correlated = false; ///< unit vectors with cosines of about 0.9
  int64_t tokens = 64;
  std::vector<std::string> absent; ///< optional inputs that take their default

  std::string name() const;
};

/// A definition's arguments for one sequence of one head, and the gradients
/// that its results are given.
struct Problem {
  Sizes dims;
  int64_t tokens;
  Named<double> values;                 ///< inputs, parameters, initial states
  std::vector<Tensor<double>> dOutputs; ///< in the order of the yield
  Named<double> dStates;                ///< of the final states
};

/// Small sizes, different and mostly odd, for the dimensions of a definition;
/// `given` sizes come first. An axis that is indexed has just its positions.
Sizes chooseDims(RecurrenceOp definition, const Sizes &given);

/// True for arguments that are log gates: at most 0.
bool isGate(RecurrenceOp definition, unsigned argument);
/// Whether some argument is of unit norm.
bool hasUnitArgument(RecurrenceOp definition);
/// Per-token inputs that a caller may leave out.
std::vector<std::string> optionalInputs(RecurrenceOp definition);

/// Draws arguments from their domains. The initial states are what the step
/// itself leaves after a few tokens of other inputs, hence never out of domain.
llvm::Expected<Problem> makeProblem(RecurrenceOp definition, const Case &kind, const Sizes &dims, uint64_t seed);

} // namespace fla::check

#endif
