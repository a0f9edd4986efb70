//===- Answer.h - results with their gradients, and how far apart they are -===//
#ifndef FLA_CHECK_ANSWER_H
#define FLA_CHECK_ANSWER_H

#include "fla/Check/Problem.h"

namespace fla::check {

/// What a definition yields for a problem.
struct Answer {
  std::vector<Tensor<double>> outputs; ///< [tokens, ...]
  Named<double> states;                ///< after the last token
  Named<double> gradients;             ///< by input, parameter and initial state
  Named<double> terms;                 ///< of each gradient, which is a sum: the sum of their absolute values
};

/// Token loop in float64; gradients by reverse mode over everything it computed.
llvm::Expected<Answer> solveByTape(mlir::Operation *definition, const Problem &problem);

/// Sum of results times the gradients given for them: what is differentiated.
llvm::Expected<double> loss(mlir::Operation *definition, const Problem &problem);

/// A distance and the name of the value that it belongs to.
struct Distance {
  double error = 0.0;
  std::string where;
  void include(double other, const llvm::Twine &name) {
    if (!(other <= error) && error == error) { // a NaN counts as the worst, and stays
      error = other;
      where = name.str();
    }
  }
};

/// |a - b| / (|b| + extra + 1e-6 sqrt(n)); equal infinities are equal.
double relativeError(const Tensor<double> &a, const Tensor<double> &b, double extra = 0.0);

/// Largest error over outputs and final states.
Distance compareForward(const Answer &got, const Answer &want);
/// Largest error over the gradients that `want` has, for terms that cancel relative to
/// them, too: |a - b| / (|b| + slack |terms| + 1e-6 sqrt(n)).
Distance compareGradients(const Answer &got, const Answer &want, double slack = 0.0);

} // namespace fla::check

#endif
