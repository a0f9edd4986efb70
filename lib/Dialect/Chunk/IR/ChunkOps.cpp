//===- ChunkOps.cpp - syntax and constraints of the chunk operations ------===//
#include "fla/Dialect/Chunk/IR/Chunk.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/OpImplementation.h"

using namespace mlir;
using namespace fla;
using namespace fla::chunk;

#define GET_OP_CLASSES
#include "fla/Dialect/Chunk/IR/ChunkOps.cpp.inc"

//===----------------------------------------------------------------------===//
// chunk.program
//===----------------------------------------------------------------------===//

chunk::YieldOp chunk::ProgramOp::getYield() { return cast<YieldOp>(getStep().getTerminator()); }

ParseResult chunk::ProgramOp::parse(OpAsmParser &parser, OperationState &result) {
  Builder &builder = parser.getBuilder();
  StringAttr name;
  SmallVector<OpAsmParser::Argument> args;
  SmallVector<Attribute> names, attrs;
  auto parseOne = [&]() -> ParseResult {
    OpAsmParser::Argument arg;
    NamedAttrList list;
    if (parser.parseArgument(arg, /*allowType=*/true) || parser.parseOptionalAttrDict(list))
      return failure();
    names.push_back(builder.getStringAttr(arg.ssaName.name.drop_front()));
    attrs.push_back(list.getDictionary(builder.getContext()));
    args.push_back(arg);
    return success();
  };
  if (parser.parseSymbolName(name, SymbolTable::getSymbolAttrName(), result.attributes))
    return failure();
  if (succeeded(parser.parseOptionalKeyword("reverse")))
    result.addAttribute("reverse", builder.getUnitAttr());
  size_t counts[4] = {};
  for (auto [i, section] : llvm::enumerate(ArrayRef<StringRef>{"tokens", "params", "carries", "saved"})) {
    size_t before = args.size();
    if (succeeded(parser.parseOptionalKeyword(section)) && parser.parseCommaSeparatedList(AsmParser::Delimiter::Paren, parseOne))
      return failure();
    counts[i] = args.size() - before;
  }
  SmallVector<Attribute> results;
  auto parseResultName = [&]() -> ParseResult {
    std::string text;
    if (parser.parseKeywordOrString(&text))
      return failure();
    results.push_back(builder.getStringAttr(text));
    return success();
  };
  if (parser.parseArrow() || parser.parseCommaSeparatedList(AsmParser::Delimiter::Paren, parseResultName) ||
      parser.parseOptionalAttrDictWithKeyword(result.attributes))
    return failure();
  result.addAttribute("num_tokens", builder.getI64IntegerAttr(counts[0]));
  result.addAttribute("num_params", builder.getI64IntegerAttr(counts[1]));
  result.addAttribute("num_carries", builder.getI64IntegerAttr(counts[2]));
  result.addAttribute("arg_names", builder.getArrayAttr(names));
  result.addAttribute("arg_attrs", builder.getArrayAttr(attrs));
  result.addAttribute("result_names", builder.getArrayAttr(results));
  return parser.parseRegion(*result.addRegion(), args);
}

void chunk::ProgramOp::print(OpAsmPrinter &printer) {
  printer << ' ';
  printer.printSymbolName(getSymName());
  if (getReverse())
    printer << " reverse";
  auto section = [&](StringRef title, Args args) {
    if (args.empty())
      return;
    printer << ' ' << title << '(';
    llvm::interleaveComma(args, printer, [&](BlockArgument arg) {
      printer.printRegionArgument(arg, getArgAttr(arg.getArgNumber()).getValue());
    });
    printer << ')';
  };
  section("tokens", getTokens());
  section("params", getParams());
  section("carries", getCarries());
  section("saved", getSaved());
  printer << " -> (";
  llvm::interleaveComma(getResultNames().getAsValueRange<StringAttr>(), printer, [&](StringRef name) { printer.printKeywordOrString(name); });
  printer << ")";
  printer.printOptionalAttrDictWithKeyword((*this)->getAttrs(), {"sym_name", "reverse", "num_tokens", "num_params", "num_carries",
                                                                "arg_names", "arg_attrs", "result_names"});
  printer << ' ';
  printer.printRegion(getBody(), /*printEntryBlockArgs=*/false);
}

void chunk::ProgramOp::getAsmBlockArgumentNames(Region &, OpAsmSetValueNameFn setName) {
  for (BlockArgument arg : getStep().getArguments())
    setName(arg, getArgName(arg.getArgNumber()));
}

LogicalResult chunk::ProgramOp::verify() {
  unsigned count = getStep().getNumArguments();
  if (getArgNames().size() != count || getArgAttrs().size() != count || getNumTokens() + getNumParams() + getNumCarries() > count)
    return emitOpError() << "expected a name and attributes for each of " << count << " arguments (C3)";
  for (BlockArgument arg : getStep().getArguments()) {
    bool leads = !getDims(arg).empty() && getDims(arg)[0].getValue() == kTokens;
    bool isToken = arg.getArgNumber() < getNumTokens();
    if (isToken != leads || (!isToken && hasDim(arg.getType(), kTokens)))
      return emitOpError() << "expected argument '" << getArgName(arg.getArgNumber()) << "' " << (isToken ? "to have" : "not to have")
                           << " the leading dimension 'tokens', got " << dimsToString(arg.getType()) << " (C1)";
  }
  if (getStep().empty() || !isa<YieldOp>(getStep().back()))
    return emitOpError("expected the body to end in 'chunk.yield' (C2)");
  YieldOp yield = getYield();
  if (TypeRange(getCarries()) != TypeRange(yield.getCarries()))
    return yield.emitOpError("expected the next carries to have the types of the carries (C2)");
  if (getResultNames().size() != yield.getNumOperands())
    return yield.emitOpError() << "expected one name for each of " << yield.getNumOperands() << " results, got " << getResultNames().size() << " (C3)";
  return success();
}

//===----------------------------------------------------------------------===//
// Pairs of tokens
//===----------------------------------------------------------------------===//

static bool isPairs(Value value) {
  auto dims = getDims(value);
  return dims.size() == 2 && dims[0].getValue() == kTokens && dims[1].getValue() == kPast;
}

/// Shared by the pair operations: `left` and `right` are tokens x D or pairs.
template <typename PairOp> static LogicalResult verifyPairs(PairOp op, Value rows, bool agree, bool pairs) {
  auto dims = getDims(rows);
  if (!agree || dims.size() != 2 || dims[0].getValue() != kTokens)
    return op.emitOpError() << "expected values over 'tokens' and one more dimension, the same for both, got "
                            << dimsToString(rows.getType()) << " (C1)";
  if (!pairs)
    return op.emitOpError("expected a 'tokens' x 'past' matrix (C3)");
  if (Value gate = op.getGate())
    if (llvm::any_of(getDims(gate), [&](StringAttr dim) { return !hasDim(rows.getType(), dim.getValue()); }))
      return op.emitOpError() << "expected a gate over dimensions of " << dimsToString(rows.getType()) << ", got "
                              << dimsToString(gate.getType()) << " (C2)";
  if (op.getPre() && !op.getStrict())
    return op.emitOpError("'pre' requires 'strict': before its own gate a reader does not see its own write (C4)");
  return success();
}

LogicalResult ScoreOp::verify() { return verifyPairs(*this, getX(), getB().getType() == getX().getType(), isPairs(getResult())); }
LogicalResult ApplyOp::verify() { return verifyPairs(*this, getX(), getResult().getType() == getX().getType(), isPairs(getP())); }
LogicalResult ApplyTransposedOp::verify() { return verifyPairs(*this, getB(), getResult().getType() == getB().getType(), isPairs(getP())); }

LogicalResult SolveOp::verify() {
  size_t n = getRows().size();
  if (getScores().size() != n * n || getResults().size() != n)
    return emitOpError() << "expected " << n * n << " scores and " << n << " results for " << n << " rows, got " << getScores().size()
                         << " and " << getResults().size() << " (C1)";
  return success();
}
