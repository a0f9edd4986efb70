//===- Answer.cpp - the oracle and the metric -----------------------------===//
#include "fla/Check/Answer.h"

#include <cmath>
#include <limits>

using namespace mlir;
using namespace fla;
using namespace fla::check;
using namespace fla::interp;

//===----------------------------------------------------------------------===//
// The oracle
//===----------------------------------------------------------------------===//

static Tensor<Var> record(const Tensor<double> &value, TapeScope &tape) {
  Tensor<Var> result(value.shape);
  for (int64_t i = 0; i < value.size(); ++i)
    result[i] = tape->variable(value[i]);
  return result;
}

static Tensor<double> plain(const Tensor<Var> &value) {
  Tensor<double> result(value.shape);
  for (int64_t i = 0; i < value.size(); ++i)
    result[i] = value[i].value;
  return result;
}

static Tensor<double> gradientOf(const Tensor<Var> &value, const std::vector<double> &adjoints) {
  Tensor<double> result(value.shape);
  for (int64_t i = 0; i < value.size(); ++i)
    result[i] = adjoints[value[i].node];
  return result;
}

static void seed(const Tensor<Var> &value, const Tensor<double> &weight, std::vector<std::pair<Var, double>> &seeds) {
  for (int64_t i = 0; i < value.size(); ++i)
    seeds.emplace_back(value[i], weight[i]);
}

llvm::Expected<Answer> check::solveByTape(Operation *definition, const Problem &problem) {
  TapeScope tape;
  Named<Var> values;
  for (auto &[name, value] : problem.values)
    values[name] = record(value, tape);
  auto result = runSteps<Var>(definition, values, problem.tokens, problem.dims);
  if (!result)
    return result.takeError();
  Answer answer;
  std::vector<std::pair<Var, double>> seeds;
  for (auto [output, weight] : llvm::zip(result->outputs, problem.dOutputs)) {
    answer.outputs.push_back(plain(output));
    seed(output, weight, seeds);
  }
  for (auto &[name, state] : result->states) {
    answer.states[name] = plain(state);
    seed(state, problem.dStates.at(name), seeds);
  }
  std::vector<double> terms, adjoints = tape->gradients(seeds, &terms);
  for (auto &[name, value] : values) {
    answer.gradients[name] = gradientOf(value, adjoints);
    answer.terms[name] = gradientOf(value, terms);
  }
  return answer;
}

static double inner(const Tensor<double> &a, const Tensor<double> &b) {
  double sum = 0.0;
  for (int64_t i = 0; i < a.size(); ++i)
    sum += a[i] * b[i];
  return sum;
}

llvm::Expected<double> check::loss(Operation *definition, const Problem &problem) {
  auto result = runSteps<double>(definition, problem.values, problem.tokens, problem.dims);
  if (!result)
    return result.takeError();
  double sum = 0.0;
  for (auto [output, weight] : llvm::zip(result->outputs, problem.dOutputs))
    sum += inner(output, weight);
  for (auto &[name, state] : result->states)
    sum += inner(state, problem.dStates.at(name));
  return sum;
}

//===----------------------------------------------------------------------===//
// The metric
//===----------------------------------------------------------------------===//

double check::relativeError(const Tensor<double> &a, const Tensor<double> &b, double extra) {
  if (a.size() != b.size())
    return std::numeric_limits<double>::infinity();
  double difference = 0.0, norm = 0.0;
  for (int64_t i = 0; i < a.size(); ++i) {
    if (std::isinf(b[i]) && a[i] == b[i])
      continue;
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    norm += b[i] * b[i];
  }
  if (a.size() == 0)
    return 0.0;
  return std::sqrt(difference) / (std::sqrt(norm) + extra + 1e-6 * std::sqrt(double(a.size())));
}

static double norm(const Tensor<double> &a) { return std::sqrt(inner(a, a)); }

static double errorOf(const Named<double> &got, const std::string &name, const Tensor<double> &want, double extra = 0.0) {
  auto it = got.find(name);
  return it == got.end() ? std::numeric_limits<double>::infinity() : relativeError(it->second, want, extra);
}

Distance check::compareForward(const Answer &got, const Answer &want) {
  Distance worst;
  if (got.outputs.size() != want.outputs.size())
    worst.include(std::numeric_limits<double>::infinity(), "number of outputs");
  for (auto [i, a, b] : llvm::enumerate(got.outputs, want.outputs))
    worst.include(relativeError(a, b), "output " + llvm::Twine(i));
  for (auto &[name, value] : want.states)
    worst.include(errorOf(got.states, name, value), "final " + name);
  return worst;
}

Distance check::compareGradients(const Answer &got, const Answer &want, double slack) {
  Distance worst;
  for (auto &[name, value] : want.gradients)
    worst.include(errorOf(got.gradients, name, value, slack == 0.0 ? 0.0 : slack * norm(want.terms.at(name))), "d " + name);
  return worst;
}
