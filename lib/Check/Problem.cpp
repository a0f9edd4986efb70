//===- Problem.cpp - inputs drawn from the arguments' domains -------------===//
#include "fla/Check/Problem.h"

#include "fla/Support/Dims.h"
#include <cmath>
#include <optional>
#include <random>

using namespace mlir;
using namespace fla;
using namespace fla::check;
using namespace fla::interp;

//===----------------------------------------------------------------------===//
// What the definition says of its arguments
//===----------------------------------------------------------------------===//

static std::optional<double> bound(DictionaryAttr attrs, llvm::StringRef name) {
  if (auto number = attrs.getAs<FloatAttr>(name))
    return number.getValueAsDouble();
  return std::nullopt;
}

bool check::isGate(RecurrenceOp definition, unsigned argument) {
  return bound(definition.getArgAttr(argument), "max") == 0.0;
}

bool check::hasUnitArgument(RecurrenceOp definition) {
  return llvm::any_of(definition.getArgAttrs(), [](Attribute attrs) { return cast<DictionaryAttr>(attrs).contains("unit"); });
}

std::vector<std::string> check::optionalInputs(RecurrenceOp definition) {
  std::vector<std::string> names;
  for (unsigned i = definition.getNumStates(); i < definition.getArgNames().size(); ++i)
    if (definition.isPerToken(i) && definition.getArgAttr(i).contains("default"))
      names.push_back(definition.getArgName(i).str());
  return names;
}

//===----------------------------------------------------------------------===//
// Sizes
//===----------------------------------------------------------------------===//

// The axis that an `fla.index` takes a position of.
static llvm::StringRef indexedDim(IndexOp op) {
  for (StringAttr dim : getDims(op.getValue()))
    if (!hasDim(op.getType(), dim.getValue()))
      return dim.getValue();
  return "";
}

static void collectDims(RecurrenceOp definition, Sizes &names) {
  definition->walk([&](Operation *op) {
    for (Value result : op->getResults())
      for (StringAttr dim : getDims(result))
        collectDimNames(dim.getValue(), names);
  });
  for (BlockArgument arg : definition.getStep().getArguments())
    for (StringAttr dim : getDims(arg))
      collectDimNames(dim.getValue(), names);
}

Sizes check::chooseDims(RecurrenceOp definition, const Sizes &given) {
  Sizes names, sizes, indexed;
  collectDims(definition, names);
  definition->walk([&](IndexOp op) {
    int64_t &size = indexed[indexedDim(op)];
    size = std::max<int64_t>(size, op.getPosition() + 1);
  });
  std::vector<std::string> sorted;
  for (auto &entry : names)
    sorted.push_back(entry.getKey().str());
  llvm::sort(sorted);
  const int64_t others[] = {6, 5, 8, 7};
  size_t next = 0;
  for (const std::string &name : sorted) {
    if (given.count(name))
      sizes[name] = given.lookup(name);
    else if (indexed.count(name))
      sizes[name] = indexed.lookup(name);
    else
      sizes[name] = name == "K" ? 12 : name == "V" ? 10 : others[next++ % 4];
  }
  return sizes;
}

//===----------------------------------------------------------------------===//
// Numbers
//===----------------------------------------------------------------------===//

namespace {

/// Draws values; the engine's sequence is fixed by the standard, and numbers are
/// formed here, so that a seed means the same everywhere.
class Generator {
public:
  explicit Generator(uint64_t seed) : engine(seed) {}

  double uniform(double low, double high) { return low + (high - low) * ((engine() >> 11) * 0x1.0p-53); }
  double normal() {
    double radius = std::sqrt(-2.0 * std::log(1.0 - uniform(0.0, 1.0)));
    return radius * std::cos(6.283185307179586 * uniform(0.0, 1.0));
  }
  Tensor<double> normals(const Shape &shape) {
    Tensor<double> result(shape);
    for (double &x : result.data)
      x = normal();
    return result;
  }

private:
  std::mt19937_64 engine;
};

} // namespace

static double gate(Gates gates, Generator &random) {
  switch (gates) {
  case Gates::Weak: return random.uniform(-0.02, 0.0);
  case Gates::Strong: return random.uniform(-5.0, 0.0);
  case Gates::Zero: return 0.0;
  case Gates::Deep: return -60.0;
  }
  return 0.0;
}

static void normalizeRows(Tensor<double> &value) {
  int64_t n = value.shape.sizes.empty() ? 1 : value.shape.sizes.back();
  for (int64_t start = 0; start < value.size(); start += n) {
    double squares = 0.0;
    for (int64_t i = start; i < start + n; ++i)
      squares += value[i] * value[i];
    for (int64_t i = start; i < start + n; ++i)
      value[i] /= std::sqrt(squares);
  }
}

// Unit vectors about a common one: the cosine of two of them is near 0.9.
static Tensor<double> unitVectors(const Shape &shape, bool correlated, Generator &random) {
  Tensor<double> value = random.normals(shape);
  normalizeRows(value);
  if (!correlated || shape.rank() == 0)
    return value;
  int64_t n = shape.sizes.back();
  std::vector<double> common(n, std::sqrt(0.9 / n));
  for (int64_t i = 0; i < value.size(); ++i)
    value[i] = common[i % n] + std::sqrt(0.1) * value[i];
  normalizeRows(value);
  return value;
}

static double element(DictionaryAttr attrs, const Case &kind, Generator &random) {
  std::optional<double> low = bound(attrs, "min"), high = bound(attrs, "max");
  if (high == 0.0)
    return std::max(gate(kind.gates, random), low.value_or(-INFINITY));
  if (low && high)
    return random.uniform(*low, *high);
  double x = random.normal();
  return low ? *low + std::abs(x) : high ? *high - std::abs(x) : attrs.contains("param") ? 0.5 * x : x;
}

// A number for all heads: near its default, so that it is seen to be used.
static double runtimeValue(DictionaryAttr attrs, const Case &kind, Generator &random) {
  std::optional<double> usual = bound(attrs, "default");
  double x = usual ? 1.25 * *usual : element(attrs, kind, random);
  x = std::max(x, bound(attrs, "min").value_or(x));
  return std::min(x, bound(attrs, "max").value_or(x));
}

static Tensor<double> draw(DictionaryAttr attrs, const Case &kind, const Shape &shape, Generator &random) {
  if (attrs.contains("value"))
    return Tensor<double>(shape, runtimeValue(attrs, kind, random));
  if (attrs.contains("unit"))
    return unitVectors(shape, kind.correlated, random);
  Tensor<double> value(shape);
  for (double &x : value.data)
    x = element(attrs, kind, random);
  return value;
}

static llvm::Error drawInputs(RecurrenceOp definition, const Case &kind, int64_t tokens, const Sizes &dims, Generator &random, Named<double> &values) {
  for (unsigned i = definition.getNumStates(); i < definition.getArgNames().size(); ++i) {
    std::string name = definition.getArgName(i).str();
    if (llvm::is_contained(kind.absent, name))
      continue;
    llvm::Expected<Shape> shape = shapeOf(definition.getStep().getArgument(i).getType(), dims);
    if (!shape)
      return shape.takeError();
    values[name] = draw(definition.getArgAttr(i), kind, definition.isPerToken(i) ? shape->outer(kTokens, tokens) : *shape, random);
  }
  return llvm::Error::success();
}

//===----------------------------------------------------------------------===//
// Problems
//===----------------------------------------------------------------------===//

std::string Case::name() const {
  const char *names[] = {"weak", "strong", "zero", "deep"};
  std::string text = std::string(names[static_cast<int>(gates)]) + (correlated ? " correlated" : "") + " T=" + std::to_string(tokens);
  for (const std::string &input : absent)
    text += " no " + input;
  return text;
}

// A recurrence whose arguments have no domain may run away: |values| stay below
// this, so that every storage type holds them and errors mean something.
static constexpr double kLargest = 1.0e4;

static bool staysSmall(const StepResult<double> &trace) {
  auto isSmall = [](const Tensor<double> &value) {
    return llvm::all_of(value.data, [](double x) { return std::abs(x) <= kLargest || x == -INFINITY; });
  };
  return llvm::all_of(trace.outputs, isSmall) && llvm::all_of(trace.states, [&](auto &entry) { return isSmall(entry.second); });
}

// Makes inputs calmer: numbers move half way towards the point of their domain
// that is nearest to zero. Unit vectors and gates stay as they are.
static void calm(RecurrenceOp definition, Named<double> &values) {
  for (unsigned i = definition.getNumStates(); i < definition.getArgNames().size(); ++i) {
    DictionaryAttr attrs = definition.getArgAttr(i);
    auto it = values.find(definition.getArgName(i).str());
    if (it == values.end() || isGate(definition, i) || attrs.contains("unit") || attrs.contains("value"))
      continue;
    double low = bound(attrs, "min").value_or(-INFINITY), high = bound(attrs, "max").value_or(INFINITY);
    double rest = std::min(std::max(0.0, low), high);
    for (double &x : it->second.data)
      x = rest + 0.5 * (x - rest);
  }
}

llvm::Expected<Problem> check::makeProblem(RecurrenceOp definition, const Case &kind, const Sizes &dims, uint64_t seed) {
  constexpr int64_t warmUp = 3;
  constexpr int attempts = 12;
  Generator random(seed);
  Named<double> before, values;
  Case mild = kind;
  mild.gates = Gates::Weak;
  if (llvm::Error error = drawInputs(definition, mild, warmUp, dims, random, before))
    return std::move(error);
  if (llvm::Error error = drawInputs(definition, kind, kind.tokens, dims, random, values))
    return std::move(error);
  for (int attempt = 0;; ++attempt) {
    auto start = runSteps<double>(definition, before, warmUp, dims);
    if (!start)
      return start.takeError();
    Problem problem{dims, kind.tokens, start->states, {}, {}};
    for (auto &[name, value] : values)
      problem.values[name] = value;
    auto whole = runSteps<double>(definition, problem.values, kind.tokens, dims);
    if (!whole)
      return whole.takeError();
    if (!staysSmall(*whole) && attempt < attempts) {
      calm(definition, before);
      calm(definition, values);
      continue;
    }
    for (const Tensor<double> &output : start->outputs)
      problem.dOutputs.push_back(random.normals(output.shape.inner().outer(kTokens, kind.tokens)));
    for (auto &[name, state] : start->states)
      problem.dStates[name] = random.normals(state.shape);
    return problem;
  }
}
