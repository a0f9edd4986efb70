//===- Oracle.cpp - the tape against central differences ------------------===//
#include "Rungs.h"

#include <cmath>
#include <random>

using namespace mlir;
using namespace fla;
using namespace fla::check;
using namespace fla::interp;

// A direction of unit length in the space of one argument.
static Tensor<double> direction(const Shape &shape, std::mt19937_64 &engine) {
  Tensor<double> result(shape);
  double squares = 0.0;
  for (double &x : result.data) {
    x = static_cast<double>(engine() >> 11) * 0x1.0p-52 - 1.0;
    squares += x * x;
  }
  for (double &x : result.data)
    x /= std::sqrt(squares);
  return result;
}

static llvm::Expected<double> lossAt(Operation *definition, const Problem &problem, const std::string &name, const Tensor<double> &along, double step) {
  Problem moved = problem;
  Tensor<double> &value = moved.values[name];
  for (int64_t i = 0; i < value.size(); ++i)
    value[i] += step * along[i];
  return loss(definition, moved);
}

// Fourth order: (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h.
// Small beside the argument, whatever its scale.
static double stepFor(const Tensor<double> &value) {
  double squares = 0.0;
  for (double x : value.data)
    squares += x * x;
  double size = std::sqrt(squares / value.size());
  return 1e-3 * (size > 0.0 ? std::min(size, 1.0) : 1.0);
}

static llvm::Expected<double> slope(Operation *definition, const Problem &problem, const std::string &name, const Tensor<double> &along) {
  const double h = stepFor(problem.values.at(name));
  const std::pair<double, double> stencil[] = {{1, 8}, {-1, -8}, {2, -1}, {-2, 1}};
  double sum = 0.0;
  for (auto [steps, weight] : stencil) {
    llvm::Expected<double> value = lossAt(definition, problem, name, along, steps * h);
    if (!value)
      return value.takeError();
    sum += weight * *value;
  }
  return sum / (12 * h);
}

// A number for all heads has no gradient.
static bool isDifferentiable(RecurrenceOp definition, llvm::StringRef name) {
  for (unsigned i = 0; i < definition.getArgNames().size(); ++i)
    if (definition.getArgName(i) == name)
      return !definition.isRuntimeValue(i);
  return false;
}

llvm::Expected<Distance> check::checkOracle(RecurrenceOp definition, const Problem &problem, uint64_t seed) {
  llvm::Expected<Answer> answer = solveByTape(definition, problem);
  if (!answer)
    return answer.takeError();
  std::mt19937_64 engine(seed);
  Distance worst;
  for (auto &[name, gradient] : answer->gradients) {
    if (gradient.size() == 0 || !isDifferentiable(definition, name))
      continue;
    Tensor<double> along = direction(gradient.shape, engine);
    llvm::Expected<double> measured = slope(definition, problem, name, along);
    if (!measured)
      return measured.takeError();
    double expected = 0.0, norm = 0.0;
    for (int64_t i = 0; i < gradient.size(); ++i) {
      expected += gradient[i] * along[i];
      norm += gradient[i] * gradient[i];
    }
    worst.include(std::abs(*measured - expected) / (std::sqrt(norm) + 1e-3), "d " + name);
  }
  return worst;
}
