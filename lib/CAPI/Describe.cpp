//===- Describe.cpp - the facts of a definition as JSON -------------------===//
#include "Compiler.h"
#include "fla/Analysis/RecurrenceClass.h"
#include "fla/Dialect/FLA/IR/FLA.h"

using namespace mlir;
using namespace fla;
using namespace fla::capi;
using llvm::json::Array;
using llvm::json::Object;

static Array dimsOf(Type type) {
  Array dims;
  for (StringAttr dim : getDims(type))
    dims.push_back(dim.getValue());
  return dims;
}

static Object describeArgument(RecurrenceOp definition, BlockArgument arg) {
  unsigned i = arg.getArgNumber();
  Object attributes;
  for (NamedAttribute attr : definition.getArgAttr(i)) {
    auto number = dyn_cast<FloatAttr>(attr.getValue());
    if (!number)
      attributes[attr.getName().getValue()] = true;
    else if (number.getValue().isInfinity()) // JSON has no infinity
      attributes[attr.getName().getValue()] = number.getValue().isNegative() ? "-inf" : "inf";
    else
      attributes[attr.getName().getValue()] = number.getValueAsDouble();
  }
  StringRef kind = i < definition.getNumStates()    ? "state"
                   : definition.isParam(i)          ? "param"
                   : definition.isRuntimeValue(i)   ? "value"
                                                    : "token";
  return Object{{"name", definition.getArgName(i)}, {"kind", kind}, {"dims", dimsOf(arg.getType())}, {"attributes", std::move(attributes)}};
}

llvm::Expected<llvm::json::Value> fla::capi::describe(StringRef text, StringRef optionsText) {
  auto options = parseOptions(optionsText);
  if (!options)
    return options.takeError();
  auto source = Source::parse(text, options->entry);
  if (!source)
    return source.takeError();
  RecurrenceOp definition = *(*source)->getModule().getOps<RecurrenceOp>().begin();
  Array states, inputs, outputs, classes;
  for (BlockArgument arg : definition.getStates())
    states.push_back(describeArgument(definition, arg));
  for (BlockArgument arg : definition.getInputs())
    inputs.push_back(describeArgument(definition, arg));
  for (Value output : definition.getYield().getOutputs())
    outputs.push_back(dimsOf(output.getType()));
  Object result{{"name", definition.getSymName()}, {"states", std::move(states)}, {"inputs", std::move(inputs)}, {"outputs", std::move(outputs)}};
  CompileOptions normalize = *options;
  normalize.until = Phase::Normalize;
  if (llvm::Error error = (*source)->run([&] { return runPhases((*source)->getModule(), normalize); }))
    return std::move(error);
  fla::ProgramOp program = *(*source)->getModule().getOps<fla::ProgramOp>().begin();
  for (unsigned i = 0; i < program.getNumStates(); ++i)
    classes.push_back(classify(program, i).describe());
  result["classes"] = std::move(classes);
  return result;
}
