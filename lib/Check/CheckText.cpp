//===- CheckText.cpp - the ladder for a definition given as text ----------===//
#include "fla/Check/Ladder.h"

#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace fla;
using namespace fla::check;

namespace {
struct TextOptions {
  LadderOptions ladder;
  std::string entry;
};
} // namespace

static llvm::Error readStrings(const llvm::json::Value &value, llvm::StringRef key, std::vector<std::string> &into) {
  std::vector<std::string> strings;
  llvm::json::Path::Root root(key);
  if (!llvm::json::fromJSON(value, strings, root))
    return llvm::createStringError("expected '" + key + "' to be an array of strings");
  into = std::move(strings);
  return llvm::Error::success();
}

static llvm::Error readDims(const llvm::json::Value &value, Sizes &dims) {
  const llvm::json::Object *object = value.getAsObject();
  for (auto &entry : object ? *object : llvm::json::Object()) {
    std::optional<int64_t> size = entry.second.getAsInteger();
    if (!size || *size < 1)
      return llvm::createStringError("expected a positive size of dimension '" + llvm::StringRef(entry.first) + "'");
    dims[entry.first] = *size;
  }
  return object ? llvm::Error::success() : llvm::createStringError("expected 'dims' to be an object");
}

static llvm::Error readOption(llvm::StringRef key, const llvm::json::Value &value, TextOptions &options) {
  if (key == "forms")
    return readStrings(value, key, options.ladder.forms);
  if (key == "dtypes")
    return readStrings(value, key, options.ladder.dtypes);
  if (key == "dims")
    return readDims(value, options.ladder.dims);
  if (key == "quick" && value.getAsBoolean())
    options.ladder.quick = *value.getAsBoolean();
  else if (key == "seed" && value.getAsInteger())
    options.ladder.seed = *value.getAsInteger();
  else if (key == "target" && value.getAsString())
    options.ladder.target = value.getAsString()->str();
  else if (key == "entry" && value.getAsString())
    options.entry = value.getAsString()->str();
  else if (key == "until" && value.getAsString() && parsePhase(*value.getAsString()))
    options.ladder.until = *parsePhase(*value.getAsString());
  else
    return llvm::createStringError("expected options quick, dims, seed, forms, dtypes, target, entry or until, got a bad '" + key + "'");
  return llvm::Error::success();
}

static llvm::Expected<TextOptions> readOptions(llvm::StringRef text) {
  TextOptions options;
  if (text.trim().empty())
    return options;
  auto value = llvm::json::parse(text);
  if (!value)
    return value.takeError();
  const llvm::json::Object *object = value->getAsObject();
  if (!object)
    return llvm::createStringError("expected options as a JSON object");
  for (auto &entry : *object)
    if (llvm::Error error = readOption(entry.first, entry.second, options))
      return std::move(error);
  return options;
}

llvm::Expected<llvm::json::Array> check::checkText(llvm::StringRef source, llvm::StringRef optionsText) {
  llvm::Expected<TextOptions> options = readOptions(optionsText);
  if (!options)
    return options.takeError();
  DialectRegistry registry;
  registerDialects(registry);
  MLIRContext context(registry, MLIRContext::Threading::DISABLED);
  std::string diagnostics;
  llvm::raw_string_ostream stream(diagnostics);
  llvm::SourceMgr sources;
  sources.AddNewSourceBuffer(llvm::MemoryBuffer::getMemBufferCopy(source, "definition"), llvm::SMLoc());
  SourceMgrDiagnosticHandler handler(sources, &context, stream);
  OwningOpRef<ModuleOp> module = parseSourceFile<ModuleOp>(sources, &context);
  if (!module)
    return llvm::createStringError(diagnostics);
  llvm::json::Array rows;
  bool found = false;
  for (RecurrenceOp definition : module->getOps<RecurrenceOp>())
    if (options->entry.empty() || definition.getSymName() == options->entry) {
      found = true;
      runLadder(definition, options->ladder, [&](const Row &row) { rows.push_back(toJSON(row)); });
    }
  if (!found)
    return llvm::createStringError("expected an 'fla.recurrence'" + (options->entry.empty() ? "" : " @" + options->entry) + ", got none");
  return rows;
}
