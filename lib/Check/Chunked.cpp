//===- Chunked.cpp - runs chunk programs, forward and reverse -------------===//
//
// By the names that FormChunks and Differentiate give: outputs `o` (or `o0`,
// `o1`, ...), states under their own names, gradients with `d_` in front.
//
//===----------------------------------------------------------------------===//
#include "Rungs.h"

#include "fla/Dialect/Chunk/IR/Chunk.h"

using namespace mlir;
using namespace fla;
using namespace fla::check;
using namespace fla::interp;

static constexpr int64_t kChunkSize = 64;

std::string check::outputName(size_t index, size_t count) { return count == 1 ? "o" : "o" + std::to_string(index); }

// Some arguments may be gone: the absent ones are constants by now.
static Named<double> onlyArguments(chunk::ProgramOp program, const Named<double> &values) {
  Named<double> own;
  for (unsigned i = 0; i < program.getArgNames().size(); ++i)
    if (auto it = values.find(program.getArgName(i).str()); it != values.end())
      own.insert(*it);
  return own;
}

static llvm::Error runForward(chunk::ProgramOp program, const Problem &problem, Answer &answer, Named<double> &saved) {
  auto result = runChunks<double>(program, onlyArguments(program, problem.values), problem.tokens, kChunkSize, problem.dims);
  if (!result)
    return result.takeError();
  for (size_t i = 0; i < problem.dOutputs.size(); ++i) {
    auto it = result->tokens.find(outputName(i, problem.dOutputs.size()));
    if (it == result->tokens.end())
      return llvm::createStringError("expected a result '" + outputName(i, problem.dOutputs.size()) + "' of the chunk program");
    answer.outputs.push_back(it->second);
  }
  answer.states = result->carries;
  saved = result->saved;
  return llvm::Error::success();
}

static llvm::Error runReverse(chunk::ProgramOp program, const Problem &problem, const Named<double> &saved, Answer &answer) {
  Named<double> values = problem.values;
  for (auto &[name, value] : problem.dStates)
    values["d_" + name] = value;
  for (auto [i, value] : llvm::enumerate(problem.dOutputs))
    values["d_" + outputName(i, problem.dOutputs.size())] = value;
  for (auto &[name, value] : saved)
    values[name] = value; // under the state's name, in place of its start
  auto result = runChunks<double>(program, onlyArguments(program, values), problem.tokens, kChunkSize, problem.dims);
  if (!result)
    return result.takeError();
  for (const Named<double> &gradients : {result->tokens, result->carries, result->sums})
    for (auto &[name, value] : gradients)
      answer.gradients[llvm::StringRef(name).drop_front(2).str()] = value;
  return llvm::Error::success();
}

// The program of a direction, or null.
static chunk::ProgramOp find(ModuleOp module, bool reverse) {
  for (chunk::ProgramOp program : module.getOps<chunk::ProgramOp>())
    if (program.getReverse() == reverse)
      return program;
  return nullptr;
}

llvm::Expected<Executor> check::chunkedExecutor(const Subject &subject, bool backward) {
  auto module = compile(subject, backward ? Phase::Differentiate : Phase::Chunk);
  if (!module)
    return module.takeError();
  chunk::ProgramOp forward = find(***module, false), reverse = find(***module, true);
  if (!forward || (backward && !reverse))
    return llvm::createStringError(backward ? "expected a forward and a reverse 'chunk.program'" : "expected a 'chunk.program'");
  return Executor([module = *module, forward, reverse, backward](const Problem &problem) -> llvm::Expected<Answer> {
    Answer answer;
    Named<double> saved;
    if (llvm::Error error = runForward(forward, problem, answer, saved))
      return std::move(error);
    if (backward)
      if (llvm::Error error = runReverse(reverse, problem, saved, answer))
        return std::move(error);
    return answer;
  });
}
