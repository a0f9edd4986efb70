//===- Scalar.cpp - functions, derivatives, the tape ----------------------===//
#include "fla/Interpreter/Scalar.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

using namespace fla::interp;

//===----------------------------------------------------------------------===//
// One number
//===----------------------------------------------------------------------===//

// Neither branch overflows.
static double sigmoid(double x) {
  double e = std::exp(-std::abs(x));
  return x >= 0 ? 1.0 / (1.0 + e) : e / (1.0 + e);
}

static double softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }

double fla::interp::apply(Unary f, double x) {
  switch (f) {
  case Unary::Neg: return -x;
  case Unary::Exp: return std::exp(x);
  case Unary::Exp2: return std::exp2(x);
  case Unary::Log: return std::log(x);
  case Unary::Log2: return std::log2(x);
  case Unary::Log1p: return std::log1p(x);
  case Unary::Expm1: return std::expm1(x);
  case Unary::Sqrt: return std::sqrt(x);
  case Unary::Rsqrt: return 1.0 / std::sqrt(x);
  case Unary::Tanh: return std::tanh(x);
  case Unary::Sin: return std::sin(x);
  case Unary::Cos: return std::cos(x);
  case Unary::Abs: return std::abs(x);
  case Unary::Erf: return std::erf(x);
  case Unary::Sigmoid: return sigmoid(x);
  case Unary::Softplus: return std::isnan(x) ? x : softplus(x);
  }
  return std::numeric_limits<double>::quiet_NaN();
}

double fla::interp::derivative(Unary f, double x, double y) {
  switch (f) {
  case Unary::Neg: return -1.0;
  case Unary::Exp: return y;
  case Unary::Exp2: return y * std::numbers::ln2;
  case Unary::Log: return 1.0 / x;
  case Unary::Log2: return 1.0 / (x * std::numbers::ln2);
  case Unary::Log1p: return 1.0 / (1.0 + x);
  case Unary::Expm1: return std::exp(x);
  case Unary::Sqrt: return 0.5 / y;
  case Unary::Rsqrt: return -0.5 * y / x;
  case Unary::Tanh: return 1.0 - y * y;
  case Unary::Sin: return std::cos(x);
  case Unary::Cos: return -std::sin(x);
  case Unary::Abs: return x > 0 ? 1.0 : x < 0 ? -1.0 : 0.0;
  case Unary::Erf: return 2.0 * std::numbers::inv_sqrtpi * std::exp(-x * x);
  case Unary::Sigmoid: return y * sigmoid(-x);
  case Unary::Softplus: return sigmoid(x);
  }
  return std::numeric_limits<double>::quiet_NaN();
}

//===----------------------------------------------------------------------===//
// Two numbers
//===----------------------------------------------------------------------===//

static double logAddExp(double a, double b) {
  double larger = std::max(a, b);
  if (std::isnan(a) || std::isnan(b))
    return std::numeric_limits<double>::quiet_NaN();
  return std::isinf(larger) ? larger : larger + std::log1p(std::exp(-std::abs(a - b)));
}

static double propagateNaN(double a, double b, double chosen) {
  return std::isnan(a) ? a : std::isnan(b) ? b : chosen;
}

double fla::interp::apply(Binary f, double a, double b) {
  switch (f) {
  case Binary::Add: return a + b;
  case Binary::Sub: return a - b;
  case Binary::Mul: return a * b;
  case Binary::Div: return a / b;
  case Binary::Max: return propagateNaN(a, b, std::max(a, b));
  case Binary::Min: return propagateNaN(a, b, std::min(a, b));
  case Binary::MaxNum: return std::fmax(a, b);
  case Binary::MinNum: return std::fmin(a, b);
  case Binary::Pow: return std::pow(a, b);
  case Binary::LogAddExp: return logAddExp(a, b);
  }
  return std::numeric_limits<double>::quiet_NaN();
}

static std::pair<double, double> choose(bool left) {
  return left ? std::pair(1.0, 0.0) : std::pair(0.0, 1.0);
}

// The weight of a term in a sum of exponentials; none where the sum is empty.
static double share(double term, double total) {
  return std::isinf(total) && total < 0 ? 0.0 : std::exp(term - total);
}

static std::pair<double, double> powerDerivatives(double a, double b, double y) {
  double byBase = b == 0.0 ? 0.0 : b * std::pow(a, b - 1.0);
  return {byBase, a > 0.0 ? y * std::log(a) : 0.0};
}

std::pair<double, double> fla::interp::derivatives(Binary f, double a, double b, double y) {
  switch (f) {
  case Binary::Add: return {1.0, 1.0};
  case Binary::Sub: return {1.0, -1.0};
  case Binary::Mul: return {b, a};
  case Binary::Div: return {1.0 / b, -y / b};
  case Binary::Max:
  case Binary::MaxNum: return choose(a >= b);
  case Binary::Min:
  case Binary::MinNum: return choose(a <= b);
  case Binary::Pow: return powerDerivatives(a, b, y);
  case Binary::LogAddExp: return {share(a, y), share(b, y)};
  }
  return {0.0, 0.0};
}

//===----------------------------------------------------------------------===//
// The tape
//===----------------------------------------------------------------------===//

Tape *&Tape::current() {
  static thread_local Tape *tape = nullptr;
  return tape;
}

Var Tape::push(double value, Var a, double da, Var b, double db) {
  Var result(value);
  result.node = nodes.size();
  nodes.push_back({a.node, b.node, da, db});
  return result;
}

std::vector<double> Tape::gradients(const std::vector<std::pair<Var, double>> &seeds, std::vector<double> *terms) const {
  std::vector<double> adjoint(nodes.size(), 0.0);
  if (terms)
    terms->assign(nodes.size(), 0.0);
  auto add = [&](int64_t node, double term) {
    if (node < 0)
      return;
    adjoint[node] += term;
    if (terms)
      (*terms)[node] += std::abs(term);
  };
  for (auto [seed, weight] : seeds)
    add(seed.node, weight);
  for (int64_t i = static_cast<int64_t>(nodes.size()) - 1; i >= 0; --i) {
    const Node &node = nodes[i];
    if (adjoint[i] == 0.0) // an infinite derivative that nothing asks for stays out
      continue;
    add(node.a, node.da * adjoint[i]);
    add(node.b, node.db * adjoint[i]);
  }
  return adjoint;
}

Var fla::interp::apply(Unary f, Var x) {
  double y = apply(f, x.value);
  Tape *tape = Tape::current();
  return tape && x.node >= 0 ? tape->push(y, x, derivative(f, x.value, y), {}, 0.0) : Var(y);
}

Var fla::interp::apply(Binary f, Var a, Var b) {
  double y = apply(f, a.value, b.value);
  Tape *tape = Tape::current();
  if (!tape || (a.node < 0 && b.node < 0))
    return Var(y);
  auto [da, db] = derivatives(f, a.value, b.value, y);
  return tape->push(y, a, da, b, db);
}
