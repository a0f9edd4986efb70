//===- Ladder.cpp - every phase against the token loop --------------------===//
#include "Rungs.h"

using namespace mlir;
using namespace fla;
using namespace fla::check;

static constexpr double kExact = 1e-10;  // float64 executors of every phase
static constexpr double kMeasured = 1e-8; // central differences

//===----------------------------------------------------------------------===//
// Cases
//===----------------------------------------------------------------------===//

static std::vector<Case> shortCases() { return {{Gates::Strong, false, 65, {}}, {Gates::Weak, true, 21, {}}}; }

static std::vector<Case> allCases(RecurrenceOp definition) {
  std::vector<Case> cases;
  for (int64_t tokens : {1, 63, 64, 65, 1000})
    cases.push_back({Gates::Weak, false, tokens, {}});
  for (Gates gates : {Gates::Strong, Gates::Zero, Gates::Deep})
    cases.push_back({gates, false, 65, {}});
  if (hasUnitArgument(definition))
    for (Gates gates : {Gates::Weak, Gates::Strong})
      cases.push_back({gates, true, 65, {}});
  return cases;
}

// Without gates, how strong they are makes no difference.
static void dropSameCases(RecurrenceOp definition, std::vector<Case> &cases) {
  unsigned count = definition.getArgNames().size();
  bool gated = llvm::any_of(llvm::seq(definition.getNumStates(), uint64_t(count)), [&](unsigned i) { return isGate(definition, i); });
  if (!gated)
    llvm::erase_if(cases, [&](const Case &kind) { return kind.gates != Gates::Weak && cases.size() > 2; });
}

std::vector<Case> check::ladderCases(RecurrenceOp definition, bool quick) {
  std::vector<Case> cases = quick ? shortCases() : allCases(definition);
  dropSameCases(definition, cases);
  if (quick)
    return cases;
  for (const std::string &input : optionalInputs(definition))
    cases.push_back({Gates::Strong, false, 65, {input}});
  return cases;
}

//===----------------------------------------------------------------------===//
// The ladder
//===----------------------------------------------------------------------===//

namespace {

/// A problem with its solution.
struct Solved {
  Case kind;
  Problem problem;
  Answer answer;
};

/// Runs the rungs and collects rows.
class Ladder {
public:
  Ladder(RecurrenceOp definition, const LadderOptions &options, llvm::function_ref<void(const Row &)> onRow)
      : definition(definition), options(options), onRow(onRow), dims(chooseDims(definition, options.dims)) {}

  std::vector<Row> run() {
    if (llvm::Error error = solveCases()) {
      fail({"define", "forward", "", "f64", "", 0.0, kMeasured, ""}, std::move(error));
      return rows;
    }
    checkDefinition();
    if (options.until >= Phase::Normalize)
      checkExecutor(Phase::Normalize, "", normalizedExecutor, true, true);
    if (options.until >= Phase::Chunk)
      checkExecutor(Phase::Chunk, "chunk", [](const Subject &s) { return chunkedExecutor(s, false); }, true, false);
    if (options.until >= Phase::Differentiate)
      checkExecutor(Phase::Differentiate, "chunk", [](const Subject &s) { return chunkedExecutor(s, true); }, false, true);
    return rows;
  }

private:
  using MakeExecutor = llvm::function_ref<llvm::Expected<Executor>(const Subject &)>;

  llvm::Error solveCases() {
    uint64_t seed = options.seed;
    for (const Case &kind : ladderCases(definition, options.quick)) {
      auto problem = makeProblem(definition, kind, dims, seed++);
      if (!problem)
        return problem.takeError();
      auto answer = solveByTape(definition, *problem);
      if (!answer)
        return answer.takeError();
      dropRuntimeValues(*answer);
      solved.push_back({kind, std::move(*problem), std::move(*answer)});
    }
    return llvm::Error::success();
  }

  // A number for all heads has no gradient.
  void dropRuntimeValues(Answer &answer) {
    for (unsigned i = 0; i < definition.getArgNames().size(); ++i)
      if (definition.isRuntimeValue(i))
        answer.gradients.erase(definition.getArgName(i).str());
  }

  void add(Row row) {
    rows.push_back(std::move(row));
    onRow(rows.back());
  }

  void fail(Row row, llvm::Error error) {
    row.failure = llvm::toString(std::move(error));
    add(std::move(row));
  }

  void checkDefinition() {
    Row row{"define", "backward", "", "f64", "", 0.0, kMeasured, ""};
    Distance worst;
    for (Gates gates : {Gates::Weak, Gates::Strong}) {
      Case kind{gates, false, 7, {}};
      auto problem = makeProblem(definition, kind, dims, options.seed);
      auto distance = problem ? checkOracle(definition, *problem, options.seed) : problem.takeError();
      if (!distance)
        return fail(row, distance.takeError());
      worst.include(distance->error, kind.name() + ": " + distance->where);
    }
    row.error = worst.error;
    row.worst = worst.where;
    add(std::move(row));
  }

  /// Rows of the directions that an executor computes.
  void checkExecutor(Phase phase, llvm::StringRef form, MakeExecutor make, bool forward, bool backward) {
    Row ahead{phaseName(phase).str(), "forward", form.str(), "f64", "", 0.0, kExact, ""}, back = ahead;
    back.direction = "backward";
    Distance results, gradients;
    if (llvm::Error error = runCases(form, make, results, gradients)) {
      (forward ? ahead : back).failure = llvm::toString(std::move(error));
      return add(forward ? ahead : back);
    }
    for (auto [wanted, row, worst] : {std::tuple(forward, &ahead, &results), std::tuple(backward, &back, &gradients)}) {
      row->error = worst->error;
      row->worst = worst->where;
      if (wanted)
        add(*row);
    }
  }

  llvm::Error runCases(llvm::StringRef form, MakeExecutor make, Distance &results, Distance &gradients) {
    std::map<std::vector<std::string>, Executor> executors;
    for (const Solved &one : solved) {
      auto [it, isNew] = executors.try_emplace(one.kind.absent);
      if (isNew) {
        auto executor = make(Subject{definition, dims, one.kind.absent, form.empty() ? "chunk" : form.str(), "f64"});
        if (!executor)
          return executor.takeError();
        it->second = std::move(*executor);
      }
      auto answer = it->second(one.problem);
      if (!answer)
        return answer.takeError();
      Distance ahead = compareForward(*answer, one.answer), back = compareGradients(*answer, one.answer);
      results.include(ahead.error, one.kind.name() + ": " + ahead.where);
      gradients.include(back.error, one.kind.name() + ": " + back.where);
    }
    return llvm::Error::success();
  }

  RecurrenceOp definition;
  const LadderOptions &options;
  llvm::function_ref<void(const Row &)> onRow;
  Sizes dims;
  std::vector<Solved> solved;
  std::vector<Row> rows;
};

} // namespace

std::vector<Row> check::runLadder(RecurrenceOp definition, const LadderOptions &options, llvm::function_ref<void(const Row &)> onRow) {
  return Ladder(definition, options, onRow).run();
}
