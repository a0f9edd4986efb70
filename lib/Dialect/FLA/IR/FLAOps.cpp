//===- FLAOps.cpp - syntax and constraints of the fla operations ----------===//
#include "fla/Dialect/FLA/IR/FLA.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/OpImplementation.h"

using namespace mlir;
using namespace fla;

#define GET_OP_CLASSES
#include "fla/Dialect/FLA/IR/FLAOps.cpp.inc"

//===----------------------------------------------------------------------===//
// Steps: syntax
//===----------------------------------------------------------------------===//

static ParseResult parseArgument(OpAsmParser &parser, SmallVectorImpl<OpAsmParser::Argument> &args, SmallVectorImpl<Attribute> &names,
                                 SmallVectorImpl<Attribute> &attrs) {
  OpAsmParser::Argument arg;
  NamedAttrList list;
  if (parser.parseArgument(arg, /*allowType=*/true) || parser.parseOptionalAttrDict(list) ||
      parser.parseOptionalLocationSpecifier(arg.sourceLoc))
    return failure();
  Builder &builder = parser.getBuilder();
  // `min = 0`: a number is a number, however it is spelled.
  for (NamedAttribute &entry : list)
    if (auto integer = dyn_cast<IntegerAttr>(entry.getValue()))
      entry.setValue(builder.getF64FloatAttr(integer.getValue().signedRoundToDouble()));
  names.push_back(builder.getStringAttr(arg.ssaName.name.drop_front()));
  attrs.push_back(list.getDictionary(builder.getContext()));
  args.push_back(arg);
  return success();
}

static ParseResult parseStep(OpAsmParser &parser, OperationState &result) {
  Builder &builder = parser.getBuilder();
  StringAttr name;
  SmallVector<OpAsmParser::Argument> args;
  SmallVector<Attribute> names, attrs;
  auto parseOne = [&] { return parseArgument(parser, args, names, attrs); };
  if (parser.parseSymbolName(name, SymbolTable::getSymbolAttrName(), result.attributes) || parser.parseKeyword("state") ||
      parser.parseCommaSeparatedList(AsmParser::Delimiter::Paren, parseOne))
    return failure();
  int64_t numStates = args.size();
  if (parser.parseCommaSeparatedList(AsmParser::Delimiter::Paren, parseOne) ||
      parser.parseOptionalAttrDictWithKeyword(result.attributes))
    return failure();
  result.addAttribute("num_states", builder.getI64IntegerAttr(numStates));
  result.addAttribute("arg_names", builder.getArrayAttr(names));
  result.addAttribute("arg_attrs", builder.getArrayAttr(attrs));
  return parser.parseRegion(*result.addRegion(), args);
}

template <typename StepOp> static void printStep(OpAsmPrinter &printer, StepOp op) {
  printer << ' ';
  printer.printSymbolName(op.getSymName());
  auto printArgument = [&](BlockArgument arg) {
    printer.printRegionArgument(arg, op.getArgAttr(arg.getArgNumber()).getValue());
  };
  printer << " state(";
  llvm::interleaveComma(op.getStates(), printer, printArgument);
  printer << ") (";
  llvm::interleaveComma(op.getInputs(), printer, printArgument);
  printer << ")";
  printer.printOptionalAttrDictWithKeyword(op->getAttrs(), {"sym_name", "num_states", "arg_names", "arg_attrs"});
  printer << ' ';
  printer.printRegion(op.getBody(), /*printEntryBlockArgs=*/false);
}

template <typename StepOp> static void nameArguments(StepOp op, OpAsmSetValueNameFn setName) {
  for (BlockArgument arg : op.getBody().getArguments())
    setName(arg, op.getArgName(arg.getArgNumber()));
}

YieldOp RecurrenceOp::getYield() { return cast<YieldOp>(getStep().getTerminator()); }
YieldOp ProgramOp::getYield() { return cast<YieldOp>(getStep().getTerminator()); }

ParseResult RecurrenceOp::parse(OpAsmParser &parser, OperationState &result) { return parseStep(parser, result); }
void RecurrenceOp::print(OpAsmPrinter &printer) { printStep(printer, *this); }
void RecurrenceOp::getAsmBlockArgumentNames(Region &, OpAsmSetValueNameFn setName) { nameArguments(*this, setName); }
ParseResult ProgramOp::parse(OpAsmParser &parser, OperationState &result) { return parseStep(parser, result); }
void ProgramOp::print(OpAsmPrinter &printer) { printStep(printer, *this); }
void ProgramOp::getAsmBlockArgumentNames(Region &, OpAsmSetValueNameFn setName) { nameArguments(*this, setName); }

//===----------------------------------------------------------------------===//
// Steps: constraints
//===----------------------------------------------------------------------===//

static bool isValueType(Type type) {
  if (type.isF64())
    return true;
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor && tensor.getElementType().isF64() && isa_and_nonnull<DimsAttr>(tensor.getEncoding());
}

template <typename StepOp> static LogicalResult verifyArgument(StepOp op, BlockArgument arg) {
  unsigned i = arg.getArgNumber();
  StringRef name = op.getArgName(i);
  DictionaryAttr attrs = op.getArgAttr(i);
  if (!isValueType(arg.getType()))
    return op.emitOpError() << "expected argument '" << name << "' to be f64 or a tensor of f64 with #fla.dims, got " << arg.getType() << " (C1)";
  for (StringAttr dim : getDims(arg))
    if (dim.getValue() == kTokens || dim.getValue() == kPast)
      return op.emitOpError() << "dimension name '" << dim.getValue() << "' of argument '" << name << "' is reserved (C7)";
  if (i < op.getNumStates())
    for (StringRef key : {"param", "value", "default", "min", "max", "unit"})
      if (attrs.contains(key))
        return op.emitOpError() << "state '" << name << "' has the attribute '" << key << "', which only inputs may have (C4)";
  auto min = attrs.template getAs<FloatAttr>("min"), max = attrs.template getAs<FloatAttr>("max");
  if (min && max && min.getValueAsDouble() > max.getValueAsDouble())
    return op.emitOpError() << "expected min <= max for argument '" << name << "', got " << min.getValueAsDouble() << " > "
                            << max.getValueAsDouble() << " (C5)";
  if (op.isRuntimeValue(i) && !arg.getType().isF64())
    return op.emitOpError() << "expected the run-time value '" << name << "' to be f64, got " << arg.getType() << " (C9)";
  return success();
}

template <typename StepOp> static LogicalResult verifyYield(StepOp op) {
  if (op.getStep().empty() || !isa<YieldOp>(op.getStep().back()))
    return op.emitOpError("expected the step to end in 'fla.yield' (C3)");
  YieldOp yield = op.getYield();
  if (yield.getStates().size() != op.getNumStates())
    return yield.emitOpError() << "expected " << op.getNumStates() << " next states, got " << yield.getStates().size() << " (C3)";
  for (auto [state, next] : llvm::zip(op.getStates(), yield.getStates()))
    if (state.getType() != next.getType()) {
      InFlightDiagnostic diag = yield.emitOpError() << "expected the next '" << op.getArgName(state.getArgNumber()) << "' to be "
                                                    << dimsToString(state.getType()) << ", got " << dimsToString(next.getType()) << " (C3)";
      return diag.attachNote(op.getLoc()) << "the state is declared here";
    }
  if (yield.getOutputs().empty())
    return yield.emitOpError("expected at least one output (C8)");
  return success();
}

template <typename StepOp> static LogicalResult verifyStep(StepOp op) {
  unsigned count = op.getStep().getNumArguments();
  if (op.getArgNames().size() != count || op.getArgAttrs().size() != count || op.getNumStates() > count)
    return op.emitOpError() << "expected a name and attributes for each of " << count << " arguments (C2)";
  llvm::StringMap<bool> names;
  bool perToken = false;
  for (BlockArgument arg : op.getStep().getArguments()) {
    if (!names.try_emplace(op.getArgName(arg.getArgNumber()), true).second)
      return op.emitOpError() << "argument name '" << op.getArgName(arg.getArgNumber()) << "' is used twice (C2)";
    if (failed(verifyArgument(op, arg)))
      return failure();
    perToken |= op.isPerToken(arg.getArgNumber());
  }
  if (!perToken)
    return op.emitOpError("expected at least one input for each token (C8)");
  return verifyYield(op);
}

/// (C6): regions are checked after their operations, so that the message for a
/// malformed operation comes first.
template <typename StepOp> static LogicalResult verifyBody(StepOp op) {
  for (Operation &inner : op.getStep()) {
    Dialect *dialect = inner.getDialect();
    StringRef name = dialect ? dialect->getNamespace() : StringRef();
    if ((name != "fla" && name != "arith" && name != "math") || inner.getNumRegions())
      return inner.emitOpError("is not allowed in a step, which holds operations of fla, arith and math only (C6)");
    for (Value value : inner.getOperands())
      if (isa<RankedTensorType>(value.getType()) && getDims(value).empty())
        return inner.emitOpError() << "expected operands with #fla.dims, got " << value.getType() << " (C1)";
  }
  return success();
}

LogicalResult RecurrenceOp::verify() { return success(succeeded(verifyStep(*this)) && succeeded(verifyBody(*this))); }

LogicalResult ProgramOp::verify() {
  if (failed(verifyStep(*this)) || failed(verifyBody(*this)))
    return failure();
  for (auto [state, next] : llvm::zip(getStates(), getYield().getStates())) {
    unsigned advances = llvm::count_if(state.getUses(), [](OpOperand &use) {
      return isa<AffineOp, ScanOp>(use.getOwner()) && use.getOperandNumber() == 0;
    });
    Operation *def = next.getDefiningOp();
    if (advances != 1 || !isa_and_nonnull<AffineOp, ScanOp>(def) || def->getOperand(0) != state || def->getResult(0) != next)
      return emitOpError() << "expected state '" << getArgName(state.getArgNumber())
                           << "' to be advanced by one fla.affine or fla.scan whose first result is yielded (C10)";
  }
  return success();
}

//===----------------------------------------------------------------------===//
// States
//===----------------------------------------------------------------------===//

static bool isSubset(Type part, Type whole) {
  return llvm::all_of(getDims(part), [&](StringAttr dim) { return hasDim(whole, dim.getValue()); });
}

/// Dimensions of `part` in the order in which `whole` has them.
static bool isOrderedSubset(Type part, Type whole) {
  int64_t last = -1;
  for (StringAttr dim : getDims(part)) {
    int64_t at = findDim(whole, dim.getValue());
    if (at <= last)
      return false;
    last = at;
  }
  return true;
}

static LogicalResult verifyFactor(Operation *op, Value value, Value factor) {
  if (!isSubset(factor.getType(), value.getType()))
    return op->emitOpError() << "expected a factor over dimensions of " << dimsToString(value.getType()) << ", got "
                             << dimsToString(factor.getType()) << " (C1)";
  return success();
}
LogicalResult GateOp::verify() { return verifyFactor(*this, getState(), getFactor()); }
LogicalResult ScaleOp::verify() { return verifyFactor(*this, getValue(), getFactor()); }

LogicalResult ReadOp::verify() {
  auto query = getDims(getQuery());
  Type state = getState().getType();
  if (query.size() != 1 || !hasDim(state, query[0].getValue()))
    return emitOpError() << "expected a vector over one dimension of the state " << dimsToString(state) << ", got "
                         << dimsToString(getQuery().getType()) << " (C1)";
  SmallVector<StringAttr> rest(llvm::make_filter_range(getDims(state), [&](StringAttr dim) { return dim != query[0]; }));
  Type expected = getValueType(getContext(), rest);
  if (getResult().getType() != expected)
    return emitOpError() << "expected the result to be " << dimsToString(expected) << ", got " << dimsToString(getResult().getType()) << " (C2)";
  return success();
}

LogicalResult WriteOp::verify() {
  auto state = getDims(getState()), x = getDims(getX()), y = getDims(getY());
  if (state.size() != 2 || x.size() != 1 || y.size() != 1 || x[0] != state[0] || y[0] != state[1])
    return emitOpError() << "expected vectors over the two dimensions of the state " << dimsToString(getState().getType()) << ", got "
                         << dimsToString(getX().getType()) << " and " << dimsToString(getY().getType()) << " (C1)";
  return success();
}

LogicalResult OuterOp::verify() {
  SmallVector<StringAttr> dims(getDims(getX()));
  llvm::append_range(dims, getDims(getY()));
  if (ArrayRef(dims) != getDims(getResult()))
    return emitOpError() << "expected the result to have the dimensions of x and then those of y, got " << dimsToString(getX().getType())
                         << " and " << dimsToString(getY().getType()) << " -> " << dimsToString(getResult().getType()) << " (C1)";
  return success();
}

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

LogicalResult ContractOp::verify() {
  for (StringAttr dim : getDims(getResult()))
    if (!hasDim(getA().getType(), dim.getValue()) && !hasDim(getB().getType(), dim.getValue()))
      return emitOpError() << "expected dimensions of an operand in the result, got '" << dim.getValue() << "' (C1)";
  for (auto [value, other] : {std::pair(getA(), getB()), std::pair(getB(), getA())})
    for (StringAttr dim : getDims(value))
      if (!hasDim(other.getType(), dim.getValue()) && !hasDim(getResult().getType(), dim.getValue()))
        return emitOpError() << "dimension '" << dim.getValue() << "' of one operand alone must be kept (C2)";
  return success();
}

LogicalResult BroadcastOp::verify() {
  if (!isOrderedSubset(getValue().getType(), getResult().getType()))
    return emitOpError() << "expected the operand's dimensions among the result's, in order, got " << dimsToString(getValue().getType())
                         << " -> " << dimsToString(getResult().getType()) << " (C1)";
  return success();
}

OpFoldResult BroadcastOp::fold(FoldAdaptor) { return getValue().getType() == getType() ? getValue() : OpFoldResult(); }

static LogicalResult verifyReduction(Operation *op) {
  if (!isOrderedSubset(op->getResult(0).getType(), op->getOperand(0).getType()))
    return op->emitOpError() << "expected the result's dimensions among the operand's, in order, got "
                             << dimsToString(op->getOperand(0).getType()) << " -> " << dimsToString(op->getResult(0).getType()) << " (C1)";
  return success();
}
LogicalResult SumOp::verify() { return verifyReduction(*this); }
LogicalResult MaxOp::verify() { return verifyReduction(*this); }

LogicalResult SoftmaxOp::verify() {
  if (getDims(getValue()).empty())
    return emitOpError("expected a value with at least one dimension, got a scalar (C1)");
  return success();
}

LogicalResult AssumeOp::verify() {
  if (getMin() && getMax() && getMin()->convertToDouble() > getMax()->convertToDouble())
    return emitOpError() << "expected min <= max, got " << getMin()->convertToDouble() << " > " << getMax()->convertToDouble() << " (C1)";
  return success();
}

/// Inside a step a scalar is a part of size 1; in a chunk it still has its tokens.
static LogicalResult verifyParts(Operation *op, ValueRange parts, Type whole) {
  if (parts.empty() || getDims(whole).empty())
    return op->emitOpError("expected at least one part of a value with a dimension (C1)");
  ArrayRef<StringAttr> leading = getDims(whole).drop_back();
  for (Value part : parts) {
    auto dims = getDims(part);
    if (dims != leading && (dims.empty() || dims.drop_back() != leading))
      return op->emitOpError() << "expected parts whose leading dimensions are those of " << dimsToString(whole) << ", got "
                               << dimsToString(part.getType()) << " (C1)";
  }
  return success();
}
LogicalResult ConcatOp::verify() { return verifyParts(*this, getParts(), getType()); }
LogicalResult SplitOp::verify() { return verifyParts(*this, getParts(), getValue().getType()); }

static LogicalResult verifyMerge(Operation *op, Type wide, Type merged) {
  auto value = getDims(wide), result = getDims(merged);
  if (value.size() < 2 || result.size() + 1 != value.size() || value.drop_back(2) != result.drop_back())
    return op->emitOpError() << "expected the last two dimensions merged into one, got " << dimsToString(wide) << " and "
                             << dimsToString(merged) << " (C1)";
  return success();
}
LogicalResult FlattenOp::verify() { return verifyMerge(*this, getValue().getType(), getType()); }
LogicalResult UnflattenOp::verify() { return verifyMerge(*this, getType(), getValue().getType()); }

static LogicalResult verifyAngle(Operation *op, Type rotated, Type angle) {
  auto value = getDims(rotated), pairs = getDims(angle);
  if (value.empty() || pairs.empty() || value.drop_back() != pairs.drop_back())
    return op->emitOpError() << "expected an angle with the leading dimensions of " << dimsToString(rotated) << ", got " << dimsToString(angle)
                             << " (C1)";
  return success();
}
LogicalResult RotateOp::verify() { return verifyAngle(*this, getValue().getType(), getAngle().getType()); }
LogicalResult RotateGradOp::verify() { return verifyAngle(*this, getRotated().getType(), getType()); }

static LogicalResult verifyPosition(Operation *op, Type whole, Type part, int64_t position) {
  if (!isOrderedSubset(part, whole) || getDims(part).size() + 1 != getDims(whole).size())
    return op->emitOpError() << "expected " << dimsToString(part) << " to lack one dimension of " << dimsToString(whole) << " (C1)";
  if (position < 0)
    return op->emitOpError() << "expected a position of at least 0, got " << position << " (C2)";
  return success();
}
LogicalResult IndexOp::verify() { return verifyPosition(*this, getValue().getType(), getType(), getPosition()); }
LogicalResult PlaceOp::verify() { return verifyPosition(*this, getType(), getValue().getType(), getPosition()); }

LogicalResult RenameOp::verify() {
  if (getDims(getValue()).size() != getDims(getResult()).size())
    return emitOpError() << "expected as many dimensions in the result as in the operand, got " << dimsToString(getValue().getType())
                         << " -> " << dimsToString(getResult().getType()) << " (C1)";
  return success();
}

//===----------------------------------------------------------------------===//
// Canonical state operations
//===----------------------------------------------------------------------===//

static LogicalResult verifyAffineCounts(AffineOp op) {
  if (op.getXs().size() != op.getValues().size())
    return op.emitOpError() << "expected one value for each of " << op.getXs().size() << " writes, got " << op.getValues().size() << " (C1)";
  if (op.getReads().size() != op.getReadRows().size() || op.getReads().size() != op.getReadVersions().size() ||
      op.getQueries().size() != op.getQueryVersions().size() || op.getQueries().size() != op.getQueryOnRows().size() ||
      op.getQueries().size() != op.getAnswers().size())
    return op.emitOpError("expected a row and a version for each read, and a version, a side and a result for each query (C2)");
  int64_t writes = op.getXs().size();
  for (auto [row, version] : llvm::zip(op.getReadRows(), op.getReadVersions())) {
    if (row < 0 || row >= writes || version < -1 || version > row)
      return op.emitOpError() << "expected a read of write " << row << " to see a version from -1 to " << row << ", got " << version << " (C3)";
    if (version == -1 && op.getColumnGate())
      return op.emitOpError("a row reads the state before the gate, which a column gate then separates from its write (C6)");
  }
  for (int64_t version : op.getQueryVersions())
    if (version < -1 || version > writes)
      return op.emitOpError() << "expected a query of a version from -1 to " << writes << ", got " << version << " (C3)";
  return success();
}

LogicalResult AffineOp::verify() {
  if (failed(verifyAffineCounts(*this)))
    return failure();
  auto state = getDims(getState());
  if (state.size() != 2 || getRowAxis() > 1)
    return emitOpError() << "expected a state with two dimensions and a row axis of 0 or 1, got " << dimsToString(getState().getType()) << " (C4)";
  StringAttr row = state[getRowAxis()], column = state[1 - getRowAxis()];
  auto isOver = [](Value value, StringAttr dim) { return getDims(value) == ArrayRef(dim); };
  bool operands = llvm::all_of(getXs(), [&](Value x) { return isOver(x, row); }) &&
                  llvm::all_of(getValues(), [&](Value v) { return isOver(v, column); }) &&
                  llvm::all_of(getReads(), [&](Value b) { return isOver(b, row); });
  for (auto [query, onRows] : llvm::zip(getQueries(), getQueryOnRows()))
    operands &= isOver(query, onRows ? row : column);
  if (!operands)
    return emitOpError() << "expected rows over '" << row.getValue() << "' and values over '" << column.getValue() << "' (C4)";
  if ((getRowGate() && !getDims(getRowGate()).empty() && !isOver(getRowGate(), row)) ||
      (getColumnGate() && !isOver(getColumnGate(), column)))
    return emitOpError() << "expected a row gate that is a scalar or over '" << row.getValue() << "' and a column gate over '"
                         << column.getValue() << "' (C5)";
  return success();
}
