//===- Jit.cpp - runs what the C API compiles -----------------------------===//
//
// The last rung uses the library as any caller does: text in, a manifest out,
// buffers in the manifest's order. One sequence, one head.
//
//===----------------------------------------------------------------------===//
#include "Roles.h"
#include "Rungs.h"

#include "fla-c/fla.h"
#include "llvm/ADT/APFloat.h"
#include "llvm/Support/raw_ostream.h"
#include <cstring>

using namespace mlir;
using namespace fla;
using namespace fla::check;
using namespace fla::interp;

//===----------------------------------------------------------------------===//
// Storage types
//===----------------------------------------------------------------------===//

static const llvm::fltSemantics &semanticsOf(llvm::StringRef dtype) {
  if (dtype == "f64")
    return llvm::APFloat::IEEEdouble();
  if (dtype == "bf16")
    return llvm::APFloat::BFloat();
  return dtype == "f16" ? llvm::APFloat::IEEEhalf() : llvm::APFloat::IEEEsingle();
}

static llvm::APFloat encode(double x, llvm::StringRef dtype) {
  llvm::APFloat value(x);
  bool inexact;
  value.convert(semanticsOf(dtype), llvm::APFloat::rmNearestTiesToEven, &inexact);
  return value;
}

static double roundTo(double x, llvm::StringRef dtype) {
  llvm::APFloat value = encode(x, dtype);
  bool exact;
  value.convert(llvm::APFloat::IEEEdouble(), llvm::APFloat::rmNearestTiesToEven, &exact);
  return value.convertToDouble();
}

static Tensor<double> roundTo(const Tensor<double> &value, llvm::StringRef dtype) {
  return map(value, [&](double x) { return roundTo(x, dtype); });
}

static unsigned widthOf(llvm::StringRef dtype) { return dtype == "f64" ? 8 : dtype == "f32" ? 4 : 2; }

/// Numbers in the caller's memory.
using Bytes = std::vector<char>;

static Bytes store(const Tensor<double> &value, llvm::StringRef dtype) {
  unsigned width = widthOf(dtype);
  Bytes bytes(std::max<size_t>(value.size(), 1) * width);
  for (int64_t i = 0; i < value.size(); ++i) {
    uint64_t bits = encode(value[i], dtype).bitcastToAPInt().getZExtValue();
    std::memcpy(bytes.data() + i * width, &bits, width);
  }
  return bytes;
}

static Tensor<double> read(const Bytes &bytes, llvm::StringRef dtype, const Shape &shape) {
  unsigned width = widthOf(dtype);
  Tensor<double> value(shape);
  for (int64_t i = 0; i < value.size(); ++i) {
    uint64_t bits = 0;
    std::memcpy(&bits, bytes.data() + i * width, width);
    llvm::APFloat number(semanticsOf(dtype), llvm::APInt(8 * width, bits));
    bool exact;
    number.convert(llvm::APFloat::IEEEdouble(), llvm::APFloat::rmNearestTiesToEven, &exact);
    value[i] = number.convertToDouble();
  }
  return value;
}

//===----------------------------------------------------------------------===//
// Types of arguments
//===----------------------------------------------------------------------===//

static std::string accumulatorOf(llvm::StringRef dtype) { return dtype == "f64" ? "f64" : "f32"; }

// In 16-bit runs gates and per-head parameters stay f32, as callers have them.
static std::string storageOf(RecurrenceOp definition, unsigned argument, llvm::StringRef dtype) {
  bool wide = isGate(definition, argument) || !definition.isPerToken(argument);
  return wide ? accumulatorOf(dtype) : dtype.str();
}

static std::string outputStorage(RecurrenceOp definition, llvm::StringRef dtype) {
  for (unsigned i = definition.getNumStates(); i < definition.getArgNames().size(); ++i)
    if (definition.isPerToken(i))
      return storageOf(definition, i, dtype);
  return dtype.str();
}

Problem check::roundProblem(RecurrenceOp definition, Problem problem, llvm::StringRef dtype) {
  for (unsigned i = 0; i < definition.getArgNames().size(); ++i)
    if (auto it = problem.values.find(definition.getArgName(i).str()); it != problem.values.end() && !definition.isRuntimeValue(i))
      it->second = roundTo(it->second, storageOf(definition, i, dtype));
  for (Tensor<double> &gradient : problem.dOutputs)
    gradient = roundTo(gradient, outputStorage(definition, dtype));
  for (auto &[name, gradient] : problem.dStates)
    gradient = roundTo(gradient, accumulatorOf(dtype));
  return problem;
}

static std::string optionsFor(const Subject &subject, bool backward) {
  RecurrenceOp definition = subject.definition;
  llvm::json::Object dims, dtypes;
  for (auto &entry : subject.dims)
    dims[entry.getKey()] = entry.getValue();
  for (unsigned i = definition.getNumStates(); i < definition.getArgNames().size(); ++i)
    if (!definition.isRuntimeValue(i))
      dtypes[definition.getArgName(i)] = storageOf(definition, i, subject.dtype);
  llvm::json::Object options{{"target", "cpu"}, {"dims", std::move(dims)}, {"dtype", accumulatorOf(subject.dtype)},
                             {"dtypes", std::move(dtypes)}, {"form", subject.form}, {"entry", definition.getSymName().str()},
                             {"direction", backward ? "backward" : "forward"}, {"absent", llvm::json::Array(subject.absent)}};
  std::string text;
  llvm::raw_string_ostream(text) << llvm::json::Value(std::move(options));
  return text;
}

//===----------------------------------------------------------------------===//
// Programs
//===----------------------------------------------------------------------===//

namespace {

/// A row of the manifest.
struct Argument {
  std::string name, role, kind, dtype;
  std::vector<int64_t> shape;
};

class JitProgram {
public:
  static llvm::Expected<std::shared_ptr<JitProgram>> create(const Subject &subject, bool backward) {
    RecurrenceOp definition = subject.definition;
    std::string source;
    llvm::raw_string_ostream(source) << "module {\n" << *definition.getOperation() << "\n}\n";
    FlaProgram *handle = fla_compile(source.c_str(), optionsFor(subject, backward).c_str());
    if (!handle)
      return llvm::createStringError(fla_last_error());
    auto program = std::make_shared<JitProgram>();
    program->handle = handle;
    if (llvm::Error error = program->readManifest())
      return std::move(error);
    return program;
  }
  JitProgram() = default;
  JitProgram(const JitProgram &) = delete;
  ~JitProgram() { fla_program_free(handle); }

  /// Adds what the program computes to an answer.
  llvm::Error run(const Problem &problem, Answer &answer) const {
    std::vector<Bytes> memory;
    std::vector<FlaTensor> tensors;
    for (const Argument &arg : arguments)
      memory.push_back(store(valueFor(arg, problem), arg.dtype));
    for (auto [arg, bytes] : llvm::zip(arguments, memory))
      tensors.push_back(describe(arg, bytes));
    FlaShape shape{1, problem.tokens, 1, 1, nullptr};
    if (fla_run(handle, tensors.data(), tensors.size(), &shape, 1) != 0)
      return llvm::createStringError(fla_last_error());
    for (auto [arg, bytes] : llvm::zip(arguments, memory))
      collectResult(arg.role, arg.name, read(bytes, arg.dtype, shapeFor(arg, problem)), answer);
    return llvm::Error::success();
  }

private:
  llvm::Error readManifest() {
    auto manifest = llvm::json::parse(fla_program_manifest(handle));
    if (!manifest)
      return manifest.takeError();
    const llvm::json::Object *top = manifest->getAsObject();
    const llvm::json::Array *rows = top ? top->getArray("args") : nullptr;
    if (!rows)
      return llvm::createStringError("expected a manifest with 'args'");
    chunk = std::max<int64_t>(top->getInteger("chunk").value_or(64), 1);
    for (const llvm::json::Value &row : *rows) {
      const llvm::json::Object &object = *row.getAsObject();
      Argument arg;
      arg.name = object.getString("name").value_or("").str();
      arg.role = object.getString("role").value_or("").str();
      arg.kind = object.getString("kind").value_or("").str();
      arg.dtype = arg.kind == "value" ? "f64" : object.getString("dtype").value_or("f32").str();
      if (const llvm::json::Array *shape = object.getArray("shape"))
        for (const llvm::json::Value &size : *shape)
          arg.shape.push_back(size.getAsInteger().value_or(0));
      arguments.push_back(std::move(arg));
    }
    return llvm::Error::success();
  }

  static int64_t elementSize(const Argument &arg) {
    int64_t product = 1;
    for (int64_t size : arg.shape)
      product *= size;
    return product;
  }

  Shape shapeFor(const Argument &arg, const Problem &problem) const {
    Shape shape;
    if (arg.kind == "token")
      shape.sizes.push_back(problem.tokens);
    if (arg.kind == "saved")
      shape.sizes.push_back(problem.tokens / chunk + 1);
    if (arg.kind != "value")
      shape.sizes.append(arg.shape.begin(), arg.shape.end());
    return shape;
  }

  // What stands in an argument before the run; results start as NaN.
  Tensor<double> valueFor(const Argument &arg, const Problem &problem) const {
    std::optional<Tensor<double>> value = givenValue(arg.role, arg.name, problem);
    return value ? *value : Tensor<double>(shapeFor(arg, problem), std::numeric_limits<double>::quiet_NaN());
  }

  static FlaTensor describe(const Argument &arg, Bytes &bytes) {
    int64_t element = elementSize(arg);
    return {bytes.data(), element, element, element, 1};
  }

  FlaProgram *handle = nullptr;
  int64_t chunk = 64;
  std::vector<Argument> arguments;
};

} // namespace

llvm::Expected<Executor> check::jitExecutor(const Subject &subject, bool backward) {
  auto program = JitProgram::create(subject, backward);
  if (!program)
    return program.takeError();
  return Executor([program = *program](const Problem &problem) -> llvm::Expected<Answer> {
    Answer answer;
    if (llvm::Error error = program->run(problem, answer))
      return std::move(error);
    return answer;
  });
}
