//===- Roles.cpp - what a compiled program's arguments stand for ----------===//
#include "Roles.h"

#include "Rungs.h"
#include "llvm/ADT/StringSwitch.h"

using namespace fla;
using namespace fla::check;

// The value's own name.
static std::string plainName(llvm::StringRef role, llvm::StringRef name) {
  llvm::StringRef prefix = llvm::StringSwitch<llvm::StringRef>(role)
                               .Case("initial_state", "initial_")
                               .Case("final_state", "final_")
                               .Case("d_final_state", "d_final_")
                               .Case("d_initial_state", "d_initial_")
                               .Case("d_input", "d_")
                               .Default("");
  name.consume_front(prefix);
  return name.str();
}

static std::optional<Tensor<double>> find(const Named<double> &values, const std::string &name) {
  auto it = values.find(name);
  return it == values.end() ? std::nullopt : std::optional(it->second);
}

static std::optional<Tensor<double>> outputGradient(llvm::StringRef name, const Problem &problem) {
  for (auto [i, gradient] : llvm::enumerate(problem.dOutputs))
    if (name == "d_" + outputName(i, problem.dOutputs.size()))
      return gradient;
  return std::nullopt;
}

std::optional<Tensor<double>> check::givenValue(llvm::StringRef role, llvm::StringRef name, const Problem &problem) {
  if (role == "input" || role == "initial_state")
    return find(problem.values, plainName(role, name));
  if (role == "d_final_state")
    return find(problem.dStates, plainName(role, name));
  if (role == "d_output")
    return outputGradient(name, problem);
  return std::nullopt;
}

void check::collectResult(llvm::StringRef role, llvm::StringRef name, Tensor<double> value, Answer &answer) {
  if (role == "output")
    answer.outputs.push_back(std::move(value));
  else if (role == "final_state")
    answer.states[plainName(role, name)] = std::move(value);
  else if (role == "d_input" || role == "d_initial_state")
    answer.gradients[plainName(role, name)] = std::move(value);
}
