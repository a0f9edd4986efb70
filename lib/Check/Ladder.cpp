//===- Ladder.cpp - every phase against the token loop --------------------===//
#include "Rungs.h"

using namespace mlir;
using namespace fla;
using namespace fla::check;

static constexpr double kMeasured = 1e-8; // central differences

// Results rounded to 16 bits carry that rounding; inside everything is wider.
static double tolerance(llvm::StringRef dtype, bool backward) {
  if (dtype == "f64")
    return 1e-10;
  if (dtype == "f32")
    return backward ? 3e-5 : 1e-5;
  return dtype == "bf16" ? 2.5e-3 : 5e-4;
}

// In f32 each term of a gradient may be wrong by so many roundings, however small their
// sum: docs/Rationale/gradients-that-cancel.md. Other types have room for that.
static constexpr double kRoundingsOfATerm = 8.0;

static double slack(llvm::StringRef dtype) { return dtype == "f32" ? kRoundingsOfATerm * 0x1.0p-24 / tolerance(dtype, /*backward=*/true) : 0.0; }

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
    auto cases = solveCases("f64");
    if (!cases) {
      fail({"define", "forward", "", "f64", "", 0.0, kMeasured, ""}, cases.takeError());
      return rows;
    }
    checkDefinition();
    if (!checkDerivation(*cases))
      return rows;
    if (options.until >= Phase::Kernelize)
      for (const std::string &form : options.forms)
        checkKernels(form, *cases);
    if (options.until >= Phase::Target && options.target == "cpu")
      for (const std::string &dtype : options.dtypes)
        checkTarget(dtype);
    return rows;
  }

private:
  using Executors = std::map<std::vector<std::string>, Executor>;
  using MakeExecutor = llvm::function_ref<llvm::Expected<Executor>(const Subject &)>;

  /// The problems as a caller with this type in memory poses them, solved.
  llvm::Expected<std::vector<Solved>> solveCases(llvm::StringRef dtype) {
    std::vector<Solved> solved;
    uint64_t seed = options.seed;
    for (const Case &kind : ladderCases(definition, options.quick)) {
      auto problem = makeProblem(definition, kind, dims, seed++);
      if (!problem)
        return problem.takeError();
      Problem rounded = roundProblem(definition, std::move(*problem), dtype);
      auto answer = solveByTape(definition, rounded);
      if (!answer)
        return answer.takeError();
      dropRuntimeValues(*answer);
      solved.push_back({kind, std::move(rounded), std::move(*answer)});
    }
    return solved;
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

  /// The phases before kernels; false if one of them refuses the definition.
  bool checkDerivation(const std::vector<Solved> &cases) {
    auto forward = [](const Subject &s) { return chunkedExecutor(s, false); };
    auto backward = [](const Subject &s) { return chunkedExecutor(s, true); };
    auto wanted = [&](Phase phase) { return options.until >= phase; };
    return (!wanted(Phase::Normalize) || (check(Phase::Normalize, "", false, cases, normalizedExecutor) &&
                                          check(Phase::Normalize, "", true, cases, normalizedExecutor))) &&
           (!wanted(Phase::Chunk) || check(Phase::Chunk, "chunk", false, cases, forward)) &&
           (!wanted(Phase::Differentiate) || check(Phase::Differentiate, "chunk", true, cases, backward));
  }

  void checkKernels(const std::string &form, const std::vector<Solved> &cases) {
    for (bool backward : {false, true})
      check(Phase::Kernelize, form, backward, cases, [=](const Subject &s) { return kernelizedExecutor(s, backward); });
  }

  void checkTarget(const std::string &dtype) {
    auto cases = solveCases(dtype);
    if (!cases)
      return fail({"target", "forward", "", dtype, "", 0.0, tolerance(dtype, false), ""}, cases.takeError());
    for (const std::string &form : options.forms)
      for (bool backward : {false, true})
        check(Phase::Target, form, backward, *cases, [=](const Subject &s) { return jitExecutor(s, backward); }, dtype);
  }

  /// Compiled once for each set of inputs that are left out.
  static llvm::Expected<Executor> executorFor(Subject subject, const Case &kind, Executors &executors, MakeExecutor make) {
    if (auto it = executors.find(kind.absent); it != executors.end())
      return it->second;
    subject.absent = kind.absent;
    auto executor = make(subject);
    if (!executor)
      return executor.takeError();
    return executors[kind.absent] = std::move(*executor);
  }

  /// One row: the largest error of a direction over all cases.
  /// False if nothing could be run.
  bool check(Phase phase, llvm::StringRef form, bool backward, const std::vector<Solved> &cases, MakeExecutor make, llvm::StringRef dtype = "f64") {
    Row row{phaseName(phase).str(), backward ? "backward" : "forward", form.str(), dtype.str(), "", 0.0, tolerance(dtype, backward), ""};
    Subject subject{definition, dims, {}, form.empty() ? "chunk" : form.str(), dtype.str(), options.target};
    Distance worst;
    if (llvm::Error error = runCases(subject, backward, cases, make, worst)) {
      fail(std::move(row), std::move(error));
      return false;
    }
    row.error = worst.error;
    row.worst = worst.where;
    add(std::move(row));
    return true;
  }

  llvm::Error runCases(Subject subject, bool backward, const std::vector<Solved> &cases, MakeExecutor make, Distance &worst) {
    Executors executors; // one for each set of inputs that are left out
    for (const Solved &one : cases) {
      auto executor = executorFor(subject, one.kind, executors, make);
      if (!executor)
        return executor.takeError();
      auto answer = (*executor)(one.problem);
      if (!answer)
        return answer.takeError();
      Distance own = backward ? compareGradients(*answer, one.answer, slack(subject.dtype)) : compareForward(*answer, one.answer);
      worst.include(own.error, one.kind.name() + ": " + own.where);
    }
    return llvm::Error::success();
  }

  RecurrenceOp definition;
  const LadderOptions &options;
  llvm::function_ref<void(const Row &)> onRow;
  Sizes dims;
  std::vector<Row> rows;
};

} // namespace

std::vector<Row> check::runLadder(RecurrenceOp definition, const LadderOptions &options, llvm::function_ref<void(const Row &)> onRow) {
  return Ladder(definition, options, onRow).run();
}
