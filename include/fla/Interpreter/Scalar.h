//===- Scalar.h - the numbers that interpreters compute with ----*- C++ -*-===//
//
// Interpreters are templates over their scalar: `double`, or `Var`, which
// records what it computes on a tape so that one reverse sweep yields exact
// derivatives of anything an interpreter runs. That makes the token loop an
// oracle for gradients that shares nothing with the compiler's derivation.
//
//   TapeScope tape;
//   Var x = tape->variable(3.0), y = x * x;
//   tape->gradients({{y, 1.0}})[x.node]  ->  6.0
//
//===----------------------------------------------------------------------===//
#ifndef FLA_INTERPRETER_SCALAR_H
#define FLA_INTERPRETER_SCALAR_H

#include <cstdint>
#include <utility>
#include <vector>

namespace fla::interp {

/// Functions of one number, each with its derivative.
enum class Unary {
  Neg, Exp, Exp2, Log, Log2, Log1p, Expm1, Sqrt, Rsqrt, Tanh, Sin, Cos, Abs, Erf, Sigmoid, Softplus,
};

/// Functions of two numbers, each with its partial derivatives. `Max` and
/// `Min` propagate NaN, `MaxNum` and `MinNum` prefer the number; on a tie the
/// left operand takes the derivative.
enum class Binary { Add, Sub, Mul, Div, Max, Min, MaxNum, MinNum, Pow, LogAddExp };

/// f(x).
double apply(Unary f, double x);
/// f'(x), given y = f(x).
double derivative(Unary f, double x, double y);
/// f(a, b).
double apply(Binary f, double a, double b);
/// (df/da, df/db), given y = f(a, b).
std::pair<double, double> derivatives(Binary f, double a, double b, double y);

/// A number whose history is on the current tape; a constant has no node.
struct Var {
  double value = 0.0;
  int64_t node = -1;
  Var() = default;
  Var(double value) : value(value) {}
};

/// What was computed, in order: each node depends on at most two earlier ones.
class Tape {
public:
  /// An independent variable.
  Var variable(double value) { return push(value, {}, 0.0, {}, 0.0); }
  /// A value with its derivatives by two earlier values.
  Var push(double value, Var a, double da, Var b, double db);
  /// Derivative of sum(weight * value) over the seeds by every node. Each is a sum;
  /// `terms` receives the sums of the absolute values of the same terms.
  std::vector<double> gradients(const std::vector<std::pair<Var, double>> &seeds, std::vector<double> *terms = nullptr) const;
  /// The tape of this thread, or null: then nothing is recorded.
  static Tape *&current();

private:
  struct Node {
    int64_t a, b;
    double da, db;
  };
  std::vector<Node> nodes;
};

/// Makes a fresh tape current for a scope.
class TapeScope {
public:
  TapeScope() : previous(Tape::current()) { Tape::current() = &tape; }
  ~TapeScope() { Tape::current() = previous; }
  TapeScope(const TapeScope &) = delete;
  TapeScope &operator=(const TapeScope &) = delete;
  Tape *operator->() { return &tape; }

private:
  Tape tape;
  Tape *previous;
};

Var apply(Unary f, Var x);
Var apply(Binary f, Var a, Var b);

inline double valueOf(double x) { return x; }
inline double valueOf(Var x) { return x.value; }

inline Var operator+(Var a, Var b) { return apply(Binary::Add, a, b); }
inline Var operator-(Var a, Var b) { return apply(Binary::Sub, a, b); }
inline Var operator*(Var a, Var b) { return apply(Binary::Mul, a, b); }
inline Var operator/(Var a, Var b) { return apply(Binary::Div, a, b); }
inline Var operator-(Var a) { return apply(Unary::Neg, a); }
inline Var &operator+=(Var &a, Var b) { return a = a + b; }

template <class S> S exponential(S x) { return apply(Unary::Exp, x); }

} // namespace fla::interp

#endif
