//===- DefinitionsTest.cpp - the library on simulated GPUs ----------------===//
//
//   DefinitionsTest                 one definition of each class, in minutes
//   DefinitionsTest --all           all of lib/Models
//   DefinitionsTest gla kda --chip=sm_90 --dtype=f32 --json=FILE
//
// Forward, backward and decoding on every chip against the token recurrence in
// float64: several sequences (one of them empty) packed with a ragged tail, heads
// of values that share a head of keys, K = V = 64 and K = 64, V = 128 in two
// column blocks. A row fails if the simulator complains (a race, an access out of
// bounds, a read of what nobody wrote, data used before its wait) or if an error
// exceeds its tolerance. Where that is not the usual one the row says why: the
// exact results change by more than half of it when the inputs are rounded once
// more, or the definition is known to lose digits (kKnown), or if an access
// that every chunk repeats has a bank conflict of more than two ways. All conflicts
// are listed at the end, by what they come from; those outside the loops apart.
//
//===----------------------------------------------------------------------===//
#include "Sequences.h"
#include "Workers.h"

#include "Rungs.h"
#include "fla/Target/GPU/Chip.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/Path.h"

#include <chrono>
#include <cmath>
#include <limits>

using namespace fla;
using namespace fla::testing;
namespace cl = llvm::cl;

static cl::list<std::string> names(cl::Positional, cl::desc("definitions of lib/Models (default: one of each class)"));
static cl::opt<bool> all("all", cl::desc("every definition"));
static cl::list<std::string> chips("chip", cl::CommaSeparated, cl::desc("chips (default: sm_90, gfx942; gfx1100 too for one of each class)"));
static cl::list<std::string> dtypes("dtype", cl::CommaSeparated, cl::desc("bf16, f16, f32, tf32 (default: bf16; f32 too for one of each class)"));
static cl::list<std::string> directions("direction", cl::CommaSeparated, cl::desc("forward, backward, decode (default: all)"));
static cl::opt<unsigned> jobs("jobs", cl::desc("processes at once"), cl::init(2));
static cl::opt<unsigned> limit("limit", cl::desc("seconds that one definition at one size may take"), cl::init(900));
static cl::opt<unsigned> most("conflicts", cl::desc("bank conflicts of more ways than this, in a loop over chunks, fail (default: 2; 0: none fail)"),
                              cl::init(2));
static cl::opt<std::string> jsonFile("json", cl::desc("write the rows there"));

/// One definition of each class.
static const llvm::StringRef kClasses[] = {"linear_attn", "linear_attn_normalized", "retention",     "simple_gla", "gla",   "gsa",
                                           "delta_rule",  "gated_delta_rule",       "delta_product", "kda",        "rwkv7", "rwkv4"};

static bool isClass(llvm::StringRef name) { return llvm::is_contained(kClasses, name); }

//===----------------------------------------------------------------------===//
// Tasks: a definition at a size
//===----------------------------------------------------------------------===//

struct Task {
  std::string model;
  bool wide; ///< K = 64, V = 128, batch entries, two column blocks; or K = V = 64, packed
};

/// Whether states have features of an outer product: D*D of them.
static bool hasOuterFeatures(RecurrenceOp definition) {
  return llvm::any_of(definition.getStates(), [](mlir::Value state) {
    std::string type;
    llvm::raw_string_ostream(type) << state.getType();
    return llvm::StringRef(type).contains("D*D");
  });
}

static Setting settingOf(RecurrenceOp definition, bool wide) {
  Setting setting;
  interp::Sizes sizes;
  sizes["K"] = 64;
  sizes["V"] = wide ? 128 : 64;
  for (const char *other : {"D", "M"})
    sizes[other] = 64;
  sizes["N"] = 16;
  if (wide && hasOuterFeatures(definition))
    sizes["D"] = 16; // as it is used: 64 columns of 4161 features do not fit every chip
  setting.dims = check::chooseDims(definition, sizes);
  setting.packed = !wide;
  setting.lengths = wide ? std::vector<int64_t>{71} : std::vector<int64_t>{13, 0, 75};
  setting.spareRows = wide ? 0 : 2;
  setting.group = wide ? 1 : 2;
  setting.kind.gates = wide ? check::Gates::Strong : check::Gates::Weak;
  setting.kind.correlated = wide && check::hasUnitArgument(definition);
  return setting;
}

/// The largest relative error that a storage type allows.
static double tolerance(llvm::StringRef dtype, bool backward, bool correlated) {
  if (dtype == "f32")
    return backward ? 3e-5 : 1e-5;
  if (dtype == "bf16")
    return (backward ? 1e-2 : 5e-3) * (correlated ? 2 : 1);
  return backward ? 3e-3 : 1.5e-3; // f16, tf32
}

/// Results known to be worse than the tolerance, with how far (in units of the type that is multiplied)
/// and the reason, which is printed.
struct Known {
  llvm::StringRef model, result;
  double units;
  const char *reason;
};
static const char kTurned[] = "turning all keys and queries by one angle changes little: what is left of the sum over tokens is rounding";
static const Known kKnown[] = {
    {"mamba3", "d theta", 20, kTurned},
    {"mamba3", "d angles", 10, kTurned},
};

/// Half a unit in the last place of a number near 1.
static double unitOf(llvm::StringRef dtype) {
  return dtype == "bf16" ? std::ldexp(1.0, -8) : dtype == "f32" ? std::ldexp(1.0, -24) : std::ldexp(1.0, -11); // f16, tf32
}

namespace {

/// What one task tries, and prints as lines of JSON.
class Attempt {
public:
  Attempt(const Task &task, llvm::function_ref<void(const std::string &)> print) : task(task), print(print) {}

  void run() {
    source = mlir::parseSourceFile<mlir::ModuleOp>(FLA_MODELS + task.model + ".mlir", context());
    if (!source)
      return row("", "", "parse", "cannot parse");
    definition = *source->getOps<RecurrenceOp>().begin();
    setting = settingOf(definition, task.wide);
    for (const std::string &dtype : dtypesOf())
      runType(dtype);
  }

private:
  using Modules = std::map<std::string, std::shared_ptr<mlir::OwningOpRef<mlir::ModuleOp>>>;

  std::vector<std::string> dtypesOf() const {
    if (!dtypes.empty())
      return dtypes;
    std::vector<std::string> list = {"bf16"};
    if (isClass(task.model) && !task.wide)
      list.push_back("f32");
    return list;
  }

  std::vector<std::string> chipsOf() const {
    if (!chips.empty())
      return chips;
    std::vector<std::string> list = {"sm_90", "gfx942"};
    if (isClass(task.model) && !task.wide)
      list.push_back("gfx1100");
    return list;
  }

  std::vector<std::string> directionsOf() const {
    return directions.empty() ? std::vector<std::string>{"forward", "backward", "decode"} : std::vector<std::string>(directions);
  }

  void row(llvm::StringRef chip, llvm::StringRef dtype, llvm::StringRef direction, const std::string &problem, llvm::json::Object more = {}) {
    more["model"] = task.model;
    more["size"] = task.wide ? "64x128" : "64x64";
    more["chip"] = chip;
    more["dtype"] = dtype;
    more["direction"] = direction;
    more["problem"] = problem;
    std::string text;
    llvm::raw_string_ostream(text) << llvm::json::Value(std::move(more));
    print(text);
  }

  /// The kernels of one direction; what a chip's kernels look like does not depend on the chip so far.
  llvm::Expected<std::shared_ptr<mlir::OwningOpRef<mlir::ModuleOp>>> compile(llvm::StringRef chip, llvm::StringRef dtype, llvm::StringRef direction) {
    auto module = std::make_shared<mlir::OwningOpRef<mlir::ModuleOp>>(mlir::ModuleOp::create(definition.getLoc()));
    (*module)->push_back(definition->clone());
    std::string diagnostics;
    mlir::ScopedDiagnosticHandler handler(context(), [&](mlir::Diagnostic &diagnostic) {
      diagnostics += (diagnostics.empty() ? "" : "; ") + diagnostic.str();
      return mlir::success();
    });
    CompileOptions options;
    options.entry = definition.getSymName().str();
    options.dims = setting.dims;
    options.target = (chip.starts_with("sm_") ? "cuda:" : "hip:") + chip.str();
    options.precision = dtype == "tf32" ? "tf32" : "ieee";
    options.dtype = dtype == "tf32" ? "f32" : dtype.str();
    options.form = direction == "decode" ? "recurrent" : "chunk";
    options.forward = direction != "backward";
    options.backward = direction == "backward";
    options.blocks = task.wide ? 2 : 1;
    options.until = Phase::Kernelize;
    if (failed(runPhases(**module, options)))
      return llvm::createStringError(diagnostics.empty() ? "it does not compile" : "it does not compile: " + diagnostics);
    (**module)->setAttr("fla.precision", mlir::StringAttr::get(context(), options.precision));
    return module;
  }

  void runType(const std::string &dtype) {
    for (const std::string &direction : directionsOf()) {
      Setting chosen = setting;
      if (direction == "decode") // a few tokens from a state
        chosen.lengths = task.wide ? std::vector<int64_t>{1} : std::vector<int64_t>{1, 0, 3};
      solved.reset();
      for (const std::string &chip : chipsOf())
        runOn(chip, dtype, direction, chosen);
    }
  }

  void runOn(const std::string &chip, const std::string &dtype, const std::string &direction, const Setting &chosen) {
    auto begin = std::chrono::steady_clock::now();
    auto module = compile(chip, dtype, direction);
    if (!module)
      return row(chip, dtype, direction, llvm::toString(module.takeError()));
    if (!solved) {
      auto drawn = Sequences::draw(definition, chosen, /*seed=*/3);
      if (!drawn)
        return row(chip, dtype, direction, llvm::toString(drawn.takeError()));
      solved.emplace(std::move(*drawn));
      if (llvm::Error error = solved->solve({***module}))
        return row(chip, dtype, direction, llvm::toString(std::move(error)));
    }
    Outcome outcome = simulateKernels(***module, {chip, solved->given(***module), solved->launch(), /*counters=*/true});
    Verdict verdict{"no results", std::numeric_limits<double>::infinity(), 0.0};
    if (outcome.problem.empty())
      verdict = judge(solved->compare(***module, outcome.written), dtype, direction, chosen);
    report(chip, dtype, direction, outcome, verdict, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }

  /// A result and its error, the one that is closest to what it may be or beyond.
  struct Verdict {
    std::string name;
    double error, allowed;
    std::string reason = ""; ///< for allowing that much
  };
  static Verdict worstOf(const std::map<std::string, double> &errors, llvm::function_ref<double(const std::string &)> allowed) {
    Verdict worst{"no results", std::numeric_limits<double>::infinity(), 1e-300};
    for (auto &[name, error] : errors)
      if (worst.name == "no results" || !(error / allowed(name) <= worst.error / worst.allowed) || std::isnan(error))
        worst = {name, error, allowed(name)};
    return worst;
  }
  /// Where an error exceeds the tolerance the problem itself may be to blame: twice what one
  /// rounding of the inputs changes in the exact results is allowed too
  /// (docs/Rationale/ill-conditioned-inputs.md).
  Verdict judge(const std::map<std::string, double> &errors, llvm::StringRef dtype, llvm::StringRef direction, const Setting &chosen) {
    double usual = tolerance(dtype, direction == "backward", chosen.kind.correlated);
    Verdict worst = worstOf(errors, [&](const std::string &) { return usual; });
    if (worst.error <= usual)
      return worst;
    auto moved = solved->sensitivity(unitOf(dtype));
    if (!moved) {
      llvm::consumeError(moved.takeError());
      return worst;
    }
    auto knownOf = [&](const std::string &name) {
      return llvm::find_if(kKnown, [&](const Known &known) { return known.model == task.model && known.result == name; });
    };
    auto knownAllowance = [&](const std::string &name) {
      auto known = knownOf(name);
      return known == std::end(kKnown) ? 0.0 : known->units * unitOf(dtype);
    };
    worst = worstOf(errors, [&](const std::string &name) { return std::max({usual, 2 * moved->at(name), knownAllowance(name)}); });
    if (auto known = knownOf(worst.name); known != std::end(kKnown) && knownAllowance(worst.name) == worst.allowed)
      worst.reason = known->reason;
    else if (worst.allowed > usual)
      worst.reason = "ill-conditioned inputs";
    return worst;
  }

  void report(llvm::StringRef chip, llvm::StringRef dtype, llvm::StringRef direction, const Outcome &outcome, const Verdict &worst, double seconds) {
    llvm::json::Object complaints;
    for (auto &[kind, count] : outcome.complaints)
      complaints[kind] = int64_t(count);
    llvm::json::Array conflicts;
    for (const Conflict &c : outcome.conflicts)
      conflicts.push_back(llvm::json::Object{{"kernel", c.kernel},
                                             {"operation", c.operation},
                                             {"location", c.location},
                                             {"ways", int64_t(c.ways)},
                                             {"average", c.average},
                                             {"repeated", c.repeated}});
    std::string problem = outcome.problem;
    if (problem.empty() && !(worst.error <= worst.allowed))
      problem = worst.name + ": error " + llvm::formatv("{0:e1}", worst.error).str() + ", tolerance " + llvm::formatv("{0:e1}", worst.allowed).str();
    auto worstOfLoops = llvm::find_if(outcome.conflicts, [](const Conflict &c) { return c.repeated; }); // the worst come first
    unsigned ways = worstOfLoops == outcome.conflicts.end() ? 1 : worstOfLoops->ways;
    if (problem.empty() && most && ways > most)
      problem = "bank conflicts of " + std::to_string(ways) + " ways at " + worstOfLoops->location;
    row(chip, dtype, direction, problem,
        llvm::json::Object{{"error", std::isfinite(worst.error) ? worst.error : 1e300},
                           {"tolerance", worst.allowed},
                           {"worst", worst.name},
                           {"reason", worst.reason},
                           {"complaints", std::move(complaints)},
                           {"conflicts", std::move(conflicts)},
                           {"ways", int64_t(ways)},
                           {"seconds", seconds}});
  }

  const Task &task;
  llvm::function_ref<void(const std::string &)> print;
  mlir::OwningOpRef<mlir::ModuleOp> source;
  RecurrenceOp definition;
  Setting setting;
  std::optional<Sequences> solved;
};

//===----------------------------------------------------------------------===//
// The table
//===----------------------------------------------------------------------===//

class Table {
public:
  explicit Table(const std::vector<Task> &tasks) : tasks(tasks) {
    llvm::outs() << "definition               size    chip     dtype  direction    error  allowed  conflicts  seconds\n";
  }

  void add(const std::string &line) {
    auto parsed = llvm::json::parse(line);
    if (!parsed) {
      llvm::consumeError(parsed.takeError());
      return;
    }
    const llvm::json::Object &row = *parsed->getAsObject();
    auto text = [&](llvm::StringRef key) { return row.getString(key).value_or("").str(); };
    auto number = [&](llvm::StringRef key) { return row.getNumber(key).value_or(0); };
    int ways = number("ways");
    llvm::outs() << llvm::format("%-24s %-7s %-8s %-6s %-9s %8.1e %8.1e  %9s %8.1f", text("model").c_str(), text("size").c_str(),
                                 text("chip").c_str(), text("dtype").c_str(), text("direction").c_str(), number("error"), number("tolerance"),
                                 ways > 1 ? (std::to_string(ways) + "-way").c_str() : "-", number("seconds"));
    if (!text("problem").empty()) {
      ++failures;
      llvm::outs() << "  FAIL " << text("problem");
    } else if (!text("reason").empty()) {
      llvm::outs() << "  " << text("worst") << ": " << text("reason");
    }
    llvm::outs() << "\n";
    llvm::outs().flush();
    rows.push_back(std::move(*parsed));
  }

  void end(size_t task, const std::string &reason) {
    if (reason.empty())
      return;
    ++failures;
    llvm::outs() << "FAIL " << tasks[task].model << (tasks[task].wide ? " 64x128" : " 64x64") << ": " << reason << "\n";
    rows.push_back(llvm::json::Object{{"model", tasks[task].model}, {"size", tasks[task].wide ? "64x128" : "64x64"}, {"problem", reason}});
  }

  /// Bank conflicts by chip, by whether chunks repeat them, and by what has them: (places, ways at worst).
  void printConflicts() const {
    std::map<std::tuple<std::string, bool, std::string>, std::pair<unsigned, int>> sites;
    for (const llvm::json::Value &row : rows)
      if (const llvm::json::Array *conflicts = row.getAsObject()->getArray("conflicts"))
        for (const llvm::json::Value &entry : *conflicts) {
          const llvm::json::Object &c = *entry.getAsObject();
          llvm::StringRef from = c.getString("location")->rsplit(' ').second; // "(tile.dot)", where it has a name
          auto &[places, ways] = sites[{row.getAsObject()->getString("chip")->str(), !c.getBoolean("repeated").value_or(true),
                                        (*c.getString("operation") + " " + from).str()}];
          ++places;
          ways = std::max(ways, int(c.getNumber("ways").value_or(0)));
        }
    for (auto &[site, found] : sites)
      llvm::outs() << llvm::format("bank conflicts on %s%s: %s, %u places, %d-way at worst\n", std::get<0>(site).c_str(),
                                   std::get<1>(site) ? " outside loops" : "", std::get<2>(site).c_str(), found.first, found.second);
  }

  unsigned failures = 0;
  llvm::json::Array rows;

private:
  const std::vector<Task> &tasks;
};

} // namespace

static std::vector<Task> chooseTasks() {
  std::vector<std::string> chosen(names.begin(), names.end());
  if (chosen.empty() && all) {
    std::error_code error;
    for (llvm::sys::fs::directory_iterator it(FLA_MODELS, error), end; it != end && !error; it.increment(error))
      if (llvm::sys::path::extension(it->path()) == ".mlir")
        chosen.push_back(llvm::sys::path::stem(it->path()).str());
    llvm::sort(chosen);
  } else if (chosen.empty()) {
    chosen.assign(std::begin(kClasses), std::end(kClasses));
  }
  std::vector<Task> tasks;
  for (const std::string &model : chosen)
    for (bool wide : {false, true})
      if (!wide || all || !names.empty())
        tasks.push_back({model, wide});
  return tasks;
}

static bool writeRows(llvm::json::Array rows) {
  std::error_code error;
  llvm::raw_fd_ostream file(jsonFile, error);
  if (!error)
    file << llvm::formatv("{0:1}\n", llvm::json::Value(std::move(rows)));
  if (error)
    llvm::errs() << "DefinitionsTest: cannot write '" << jsonFile << "': " << error.message() << "\n";
  return !error;
}

int main(int argc, char **argv) {
  cl::ParseCommandLineOptions(argc, argv, "The library of definitions on simulated GPUs\n");
  for (const std::string &chip : chips)
    if (!gpu::findChip(chip)) {
      llvm::errs() << "DefinitionsTest: expected --chip to be one of " << gpu::chipNames() << ", got '" << chip << "'\n";
      return 2;
    }
  auto begin = std::chrono::steady_clock::now();
  std::vector<Task> tasks = chooseTasks();
  context(); // made once, for all processes
  Table table(tasks);
  runTasks(
      tasks.size(), jobs, limit, [&](size_t i, auto print) { Attempt(tasks[i], print).run(); },
      [&](size_t, const std::string &line) { table.add(line); }, [&](size_t i, const std::string &reason) { table.end(i, reason); });
  table.printConflicts();
  unsigned rows = table.rows.size();
  llvm::outs() << llvm::format("%u rows, %u failures, %.0f s\n", rows, table.failures,
                               std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  bool wrote = jsonFile.empty() || writeRows(std::move(table.rows));
  return table.failures || !wrote ? 1 : 0;
}
