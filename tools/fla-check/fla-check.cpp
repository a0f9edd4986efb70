//===- fla-check.cpp - checks a definition, phase by phase ----------------===//
#include "fla/Check/Ladder.h"

#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace fla;
using namespace fla::check;
namespace cl = llvm::cl;

static cl::OptionCategory category("fla-check options");
static cl::list<std::string> files(cl::Positional, cl::desc("FILE..."), cl::OneOrMore, cl::cat(category));
static cl::opt<bool> quick("quick", cl::desc("Try a few inputs only"), cl::cat(category));
static cl::opt<bool> json("json", cl::desc("Print a JSON array of rows instead of a table"), cl::cat(category));
static cl::opt<uint64_t> seed("seed", cl::desc("Seed of the inputs (default 1)"), cl::init(1), cl::cat(category));
static cl::opt<std::string> entry("entry", cl::desc("Check this definition only"), cl::value_desc("name"), cl::cat(category));
static cl::opt<std::string> until("until", cl::desc("Last phase to check: define, normalize, chunk, differentiate, kernelize or target"), cl::init("target"), cl::value_desc("phase"), cl::cat(category));
static cl::opt<std::string> target("target", cl::desc("cpu (default), or a GPU, whose kernels are interpreted only: cuda:sm_90, hip:gfx942, ..."), cl::init("cpu"), cl::value_desc("target"), cl::cat(category));
static cl::list<std::string> dims("dims", cl::CommaSeparated, cl::desc("Sizes of dimensions, for instance K:16,V:8"), cl::value_desc("name:size"), cl::cat(category));
static cl::list<std::string> forms("forms", cl::CommaSeparated, cl::desc("Forms to check: chunk, recurrent"), cl::value_desc("form"), cl::cat(category));
static cl::list<std::string> dtypes("dtypes", cl::CommaSeparated, cl::desc("Types to check: f64, f32, bf16, f16"), cl::value_desc("type"), cl::cat(category));

static constexpr char kOverview[] =
    "Checks a recurrence: compiles it phase by phase, runs what each phase made of it,\n"
    "and compares results and gradients with the float64 token loop.\n\n"
    "  fla-check lib/Models/gated_delta_rule.mlir\n"
    "  fla-check --quick --dims=K:16,V:8 my_rule.mlir\n\n"
    "The exit status is 0 if every row passes, 1 if one fails, 2 for a bad command.\n";

/// Prints what is wrong with the command line.
static bool complain(const llvm::Twine &message) {
  llvm::errs() << "fla-check: " << message << "\n";
  return false;
}

static bool allKnown(llvm::StringRef option, const cl::list<std::string> &given, llvm::ArrayRef<llvm::StringRef> known) {
  for (const std::string &value : given)
    if (!llvm::is_contained(known, value))
      return complain("expected --" + option + " among " + llvm::join(known, ", ") + ", got '" + value + "'");
  return true;
}

static bool readDims(Sizes &sizes) {
  for (llvm::StringRef item : dims) {
    auto [name, text] = item.split(':');
    int64_t size;
    if (name.empty() || text.getAsInteger(10, size) || size < 1)
      return complain("expected --dims as NAME:SIZE with a positive size, got '" + item + "'");
    sizes[name] = size;
  }
  return true;
}

static bool readOptions(LadderOptions &options) {
  options.quick = quick;
  options.seed = seed;
  std::optional<Phase> phase = parsePhase(until);
  if (!phase)
    return complain("expected --until to name a phase, got '" + until + "'");
  options.until = *phase;
  options.target = target;
  CompileOptions compile;
  compile.target = target;
  if (llvm::Error error = checkOptions(compile))
    return complain(llvm::toString(std::move(error)));
  if (!allKnown("forms", forms, {"chunk", "recurrent"}) || !allKnown("dtypes", dtypes, {"f64", "f32", "bf16", "f16"}))
    return false;
  if (!forms.empty())
    options.forms = {forms.begin(), forms.end()};
  if (!dtypes.empty())
    options.dtypes = {dtypes.begin(), dtypes.end()};
  return readDims(options.dims);
}

/// Checks a definition; true if every row passes.
static bool checkDefinition(RecurrenceOp definition, const LadderOptions &options, llvm::json::Array &all) {
  if (!json)
    llvm::outs() << "@" << definition.getSymName() << "\n" << tableHead() << "\n";
  bool passes = true;
  runLadder(definition, options, [&](const Row &row) {
    passes &= row.passes();
    if (json)
      all.push_back(toJSON(row));
    else
      llvm::outs() << tableLine(row) << "\n";
    llvm::outs().flush();
  });
  return passes;
}

static bool checkFile(llvm::StringRef file, MLIRContext &context, const LadderOptions &options, llvm::json::Array &all) {
  llvm::SourceMgr sources;
  auto handler = std::make_unique<SourceMgrDiagnosticHandler>(sources, &context);
  OwningOpRef<ModuleOp> module = parseSourceFile<ModuleOp>(file, sources, &context);
  handler.reset();
  if (!module)
    return false;
  bool passes = true, found = false;
  for (RecurrenceOp definition : module->getOps<RecurrenceOp>())
    if (entry.empty() || definition.getSymName() == entry) {
      found = true;
      passes &= checkDefinition(definition, options, all);
    }
  return found ? passes : complain("expected an 'fla.recurrence'" + (entry.empty() ? "" : " @" + entry) + " in " + file + ", got none");
}

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  cl::HideUnrelatedOptions(category);
  cl::ParseCommandLineOptions(argc, argv, kOverview);
  LadderOptions options;
  if (!readOptions(options))
    return 2;
  DialectRegistry registry;
  registerDialects(registry);
  MLIRContext context(registry);
  context.printOpOnDiagnostic(false); // a message and the user's line, not the whole definition
  llvm::json::Array all;
  bool passes = true;
  for (const std::string &file : files)
    passes &= checkFile(file, context, options, all);
  if (json)
    llvm::outs() << llvm::json::Value(std::move(all)) << "\n";
  return passes ? 0 : 1;
}
