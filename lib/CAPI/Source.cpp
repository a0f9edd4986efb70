//===- Source.cpp - parsing with diagnostics as text ----------------------===//
#include "Compiler.h"
#include "fla/Dialect/FLA/IR/FLA.h"
#include "llvm/Support/SourceMgr.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Parser/Parser.h"

using namespace mlir;
using namespace fla;
using namespace fla::capi;

static DialectRegistry makeRegistry() {
  DialectRegistry registry;
  registerDialects(registry);
  return registry;
}

Source::Source() : context(makeRegistry(), MLIRContext::Threading::DISABLED) {
  context.printOpOnDiagnostic(false); // a message and the user's line, not the whole definition
}

llvm::Error Source::run(llvm::function_ref<LogicalResult()> action) {
  std::string messages;
  llvm::raw_string_ostream os(messages);
  llvm::SourceMgr sources;
  sources.AddNewSourceBuffer(llvm::MemoryBuffer::getMemBuffer(text, "definition", /*RequiresNullTerminator=*/false), llvm::SMLoc());
  SourceMgrDiagnosticHandler handler(sources, &context, os);
  if (succeeded(action()))
    return llvm::Error::success();
  return llvm::createStringError(messages.empty() ? "compilation failed without a message" : StringRef(messages).rtrim());
}

llvm::Error Source::selectEntry(StringRef entry) {
  SmallVector<RecurrenceOp> definitions(module->getOps<RecurrenceOp>());
  if (definitions.empty())
    return llvm::createStringError("expected an fla.recurrence in the source, got none");
  if (entry.empty() && definitions.size() > 1)
    return llvm::createStringError("the source holds several definitions; name one as \"entry\"");
  bool found = false;
  for (RecurrenceOp definition : definitions) {
    bool isEntry = entry.empty() || definition.getSymName() == entry;
    found |= isEntry;
    if (!isEntry)
      definition.erase();
  }
  if (!found)
    return llvm::createStringError("expected the name of a definition as \"entry\", got '" + entry + "'");
  return llvm::Error::success();
}

llvm::Expected<std::unique_ptr<Source>> Source::parse(StringRef text, StringRef entry) {
  std::unique_ptr<Source> source(new Source());
  source->text = text.str();
  llvm::Error error = source->run([&] {
    source->module = parseSourceString<ModuleOp>(source->text, ParserConfig(&source->context), "definition");
    return success(static_cast<bool>(source->module));
  });
  if (!error)
    error = source->selectEntry(entry);
  if (error)
    return std::move(error);
  return source;
}
