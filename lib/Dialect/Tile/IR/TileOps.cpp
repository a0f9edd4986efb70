//===- TileOps.cpp - syntax and constraints of the tile operations --------===//
#include "fla/Dialect/Tile/IR/Tile.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/OpImplementation.h"
#include <numeric>

using namespace mlir;
using namespace fla::tile;

#define GET_OP_CLASSES
#include "fla/Dialect/Tile/IR/TileOps.cpp.inc"

//===----------------------------------------------------------------------===//
// tile.kernel
//===----------------------------------------------------------------------===//

ParseResult KernelOp::parse(OpAsmParser &parser, OperationState &result) {
  Builder &builder = parser.getBuilder();
  StringAttr name;
  SmallVector<OpAsmParser::Argument> args;
  SmallVector<Attribute> names;
  SmallVector<bool> outputs;
  auto parseOne = [&]() -> ParseResult {
    OpAsmParser::Argument arg;
    outputs.push_back(succeeded(parser.parseOptionalKeyword("out")));
    if (parser.parseArgument(arg, /*allowType=*/true))
      return failure();
    names.push_back(builder.getStringAttr(arg.ssaName.name.drop_front()));
    args.push_back(arg);
    return success();
  };
  if (parser.parseSymbolName(name, SymbolTable::getSymbolAttrName(), result.attributes) ||
      parser.parseCommaSeparatedList(AsmParser::Delimiter::Paren, parseOne) || parser.parseOptionalAttrDictWithKeyword(result.attributes))
    return failure();
  result.addAttribute("arg_names", builder.getArrayAttr(names));
  result.addAttribute("outputs", builder.getDenseBoolArrayAttr(outputs));
  Region *body = result.addRegion();
  if (parser.parseRegion(*body, args))
    return failure();
  KernelOp::ensureTerminator(*body, builder, result.location);
  return success();
}

void KernelOp::print(OpAsmPrinter &printer) {
  printer << ' ';
  printer.printSymbolName(getSymName());
  printer << '(';
  llvm::interleaveComma(getBody().getArguments(), printer, [&](BlockArgument arg) {
    printer << (getOutputs()[arg.getArgNumber()] ? "out " : "");
    printer.printRegionArgument(arg);
  });
  printer << ")";
  SmallVector<StringRef> elided{"sym_name", "arg_names", "outputs"};
  if (getSpan() == 1)
    elided.push_back("span");
  printer.printOptionalAttrDictWithKeyword((*this)->getAttrs(), elided);
  printer << ' ';
  printer.printRegion(getBody(), /*printEntryBlockArgs=*/false, /*printBlockTerminators=*/false);
}

void KernelOp::getAsmBlockArgumentNames(Region &, OpAsmSetValueNameFn setName) {
  for (BlockArgument arg : getBody().getArguments())
    setName(arg, getArgName(arg.getArgNumber()));
}

LogicalResult KernelOp::verify() {
  size_t count = getBody().getNumArguments();
  if (getArgNames().size() != count || getOutputs().size() != count)
    return emitOpError() << "expected one name and one output mark for each of " << count << " arguments (C1)";
  for (BlockArgument arg : getBody().getArguments())
    if (!isa<BufferType>(arg.getType()))
      return emitOpError() << "expected argument '" << getArgName(arg.getArgNumber()) << "' to be a !tile.buffer, got " << arg.getType() << " (C2)";
  if (static_cast<int64_t>(getSpan()) < 1)
    return emitOpError() << "expected a positive span, got " << static_cast<int64_t>(getSpan()) << " (C3)";
  return success();
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

static ArrayRef<int64_t> shapeOf(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor ? tensor.getShape() : ArrayRef<int64_t>();
}

static LogicalResult verifyAccess(Operation *op, BufferType buffer, Value chunk, Type value) {
  bool perChunk = buffer.getKind() == BufferKind::token || buffer.getKind() == BufferKind::saved;
  if (perChunk != static_cast<bool>(chunk))
    return op->emitOpError() << "expected " << (perChunk ? "a" : "no") << " chunk index for a '" << stringifyBufferKind(buffer.getKind())
                             << "' buffer (C1)";
  ArrayRef<int64_t> shape = shapeOf(value);
  if (buffer.getKind() == BufferKind::token && !shape.empty())
    shape = shape.drop_front();
  SmallVector<std::pair<int64_t, int64_t>> narrower;
  if (shape.size() == buffer.getShape().size())
    for (auto [got, full] : llvm::zip(shape, buffer.getShape()))
      if (got < full)
        narrower.push_back({got, full});
  if (shape.size() != buffer.getShape().size() || narrower.size() > 1)
    return op->emitOpError() << "expected a tile of the shape of " << buffer << ", with at most one narrower axis, got " << value << " (C2)";
  auto kernel = op->getParentOfType<KernelOp>();
  if (kernel && !narrower.empty()) {
    auto [got, full] = narrower.front();
    int64_t blocks = std::max<int64_t>(kernel.getBlocks(), 1), slice = llvm::divideCeil(full, blocks);
    if (got < slice)
      return op->emitOpError() << "expected an axis of at least " << slice << ", the slice of " << full << " that each of " << blocks
                               << " blocks holds, got " << got << " (C3)";
  }
  return success();
}
LogicalResult LoadOp::verify() { return verifyAccess(*this, getBuffer().getType(), getChunk(), getType()); }
LogicalResult StoreOp::verify() { return verifyAccess(*this, getBuffer().getType(), getChunk(), getValue().getType()); }

LogicalResult CopyOp::verify() {
  SharedType room = getShared().getType();
  if (room.getElementType() != getBuffer().getType().getElementType())
    return emitOpError() << "expected room for elements of " << getBuffer().getType() << ", got " << room << " (C4)";
  auto tile = RankedTensorType::get(room.getShape(), room.getElementType());
  return verifyAccess(*this, getBuffer().getType(), getChunk(), room.getShape().empty() ? room.getElementType() : Type(tile));
}

LogicalResult ReadOp::verify() {
  if (shapeOf(getType()) != getShared().getType().getShape())
    return emitOpError() << "expected a tile of the shape of " << getShared().getType() << ", got " << getType() << " (C1)";
  return success();
}

//===----------------------------------------------------------------------===//
// Tiles
//===----------------------------------------------------------------------===//

LogicalResult ConvertLayoutOp::verify() {
  auto from = cast<RankedTensorType>(getValue().getType()), to = cast<RankedTensorType>(getType());
  if (from.getShape() != to.getShape() || from.getElementType() != to.getElementType())
    return emitOpError() << "expected types that differ in their layout alone, got " << from << " -> " << to << " (C1)";
  return success();
}

LogicalResult InsideOp::verify() {
  if (getBounds().size() != shapeOf(getType()).size() || llvm::any_of(getBounds(), [](int64_t bound) { return bound <= 0; }))
    return emitOpError() << "expected one positive bound for each axis of " << getType() << ", got " << getBounds().size() << " (C1)";
  return success();
}

LogicalResult ReshapeOp::verify() {
  auto fits = [](ArrayRef<int64_t> box, ArrayRef<int64_t> shape) {
    return box.size() == shape.size() && llvm::all_of_zip(box, shape, [](int64_t bound, int64_t size) { return bound > 0 && bound <= size; });
  };
  auto count = [](ArrayRef<int64_t> box) { return std::accumulate(box.begin(), box.end(), int64_t(1), std::multiplies<>()); };
  if (!fits(getFrom(), shapeOf(getValue().getType())) || !fits(getTo(), shapeOf(getType())) || count(getFrom()) != count(getTo()))
    return emitOpError() << "expected boxes of as many elements inside " << getValue().getType() << " and " << getType() << " (C1)";
  return success();
}

LogicalResult BroadcastOp::verify() {
  ArrayRef<int64_t> from = shapeOf(getValue().getType()), to = shapeOf(getType());
  int64_t last = -1;
  bool agree = getAxes().size() == from.size();
  for (auto [i, axis] : llvm::enumerate(getAxes())) {
    agree &= axis > last && axis < static_cast<int64_t>(to.size()) && i < from.size() && to[axis] == from[i];
    last = axis;
    if (!agree)
      break;
  }
  if (!agree)
    return emitOpError() << "expected increasing axes whose sizes agree, got " << getValue().getType() << " -> " << getType() << " (C1)";
  return success();
}

LogicalResult ReduceOp::verify() {
  SmallVector<int64_t> shape(shapeOf(getValue().getType()));
  if (getAxis() >= shape.size())
    return emitOpError() << "expected an axis below " << shape.size() << ", got " << getAxis();
  shape.erase(shape.begin() + getAxis());
  if (ArrayRef(shape) != shapeOf(getType()))
    return emitOpError() << "expected the result to lack axis " << getAxis() << " of " << getValue().getType() << ", got " << getType();
  return success();
}

LogicalResult DotOp::verify() {
  auto a = shapeOf(getA().getType()), b = shapeOf(getB().getType()), c = shapeOf(getType());
  if (a.size() != 2 || b.size() != 2 || c.size() != 2)
    return emitOpError("expected matrices (C1)");
  int64_t m = a[getTransposeA()], k = a[1 - getTransposeA()], k2 = b[getTransposeB()], n = b[1 - getTransposeB()];
  if (k != k2 || c[0] != m || c[1] != n)
    return emitOpError() << "expected sizes that agree, got " << getA().getType() << " and " << getB().getType() << " -> " << getType() << " (C1)";
  bool needsLevel = getPairs() == Pairs::level;
  if (needsLevel != (getLevel() > 0) || (needsLevel && !llvm::isPowerOf2_64(getLevel())))
    return emitOpError() << "expected a power of two as level for pairs(level) alone, got " << getLevel() << " (C2)";
  if (getInit() && getInit().getType() != getType())
    return emitOpError() << "expected an init of type " << getType() << ", got " << getInit().getType() << " (C3)";
  if (getInit() && restrictsResult() && getPairs() != Pairs::all)
    return emitOpError("expected no init where pairs restricts the result (C3)");
  return success();
}
