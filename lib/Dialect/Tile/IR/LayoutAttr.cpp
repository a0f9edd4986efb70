//===- LayoutAttr.cpp - layouts as encodings of tensors -------------------===//
#include "fla/Dialect/Tile/IR/Tile.h"
#include "mlir/IR/DialectImplementation.h"

using namespace mlir;
using namespace fla::tile;

static SmallVector<int32_t> flatten(const Bases &bases) {
  SmallVector<int32_t> flat;
  for (const Coordinates &basis : bases)
    flat.append(basis.begin(), basis.end());
  return flat;
}

static Bases unflatten(ArrayRef<int32_t> flat, int64_t rank) {
  Bases bases;
  for (size_t i = 0; rank && i < flat.size(); i += rank)
    bases.emplace_back(flat.begin() + i, flat.begin() + i + rank);
  return bases;
}

LayoutAttr LayoutAttr::get(MLIRContext *context, const LinearLayout &layout) {
  return get(context, layout.rank(), flatten(layout.registerBases()), flatten(layout.laneBases()), flatten(layout.warpBases()));
}

LinearLayout LayoutAttr::getLayout(ArrayRef<int64_t> shape) const {
  return LinearLayout(shape, unflatten(getRegisters(), getRank()), unflatten(getLanes(), getRank()), unflatten(getWarps(), getRank()));
}

std::optional<LinearLayout> fla::tile::layoutOf(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  auto layout = tensor ? dyn_cast_or_null<LayoutAttr>(tensor.getEncoding()) : LayoutAttr();
  if (!layout)
    return std::nullopt;
  return layout.getLayout(tensor.getShape());
}

/// `NAME = [[0, 1], [8, 0]]`; `rank` is set by the first basis.
static ParseResult parseBases(AsmParser &parser, StringRef name, int64_t &rank, SmallVector<int32_t> &flat) {
  if (parser.parseKeyword(name) || parser.parseEqual())
    return failure();
  return parser.parseCommaSeparatedList(AsmParser::Delimiter::Square, [&]() -> ParseResult {
    SmallVector<int32_t> basis;
    SMLoc loc = parser.getCurrentLocation();
    if (parser.parseCommaSeparatedList(AsmParser::Delimiter::Square, [&] { return parser.parseInteger(basis.emplace_back()); }))
      return failure();
    if (rank >= 0 && rank != static_cast<int64_t>(basis.size()))
      return parser.emitError(loc) << "expected bases of one rank, got " << basis.size() << " after " << rank;
    rank = basis.size();
    flat.append(basis);
    return success();
  });
}

Attribute LayoutAttr::parse(AsmParser &parser, Type) {
  int64_t rank = -1;
  SmallVector<int32_t> registers, lanes, warps;
  if (parser.parseLess() || parseBases(parser, "registers", rank, registers) || parser.parseComma() || parseBases(parser, "lanes", rank, lanes) ||
      parser.parseComma() || parseBases(parser, "warps", rank, warps) || parser.parseGreater())
    return {};
  return get(parser.getContext(), std::max<int64_t>(rank, 0), registers, lanes, warps);
}

void LayoutAttr::print(AsmPrinter &printer) const {
  auto bases = [&](StringRef name, ArrayRef<int32_t> flat) {
    printer << name << " = [";
    llvm::interleaveComma(unflatten(flat, getRank()), printer, [&](const Coordinates &basis) {
      printer << "[";
      llvm::interleaveComma(basis, printer);
      printer << "]";
    });
    printer << "]";
  };
  printer << "<";
  bases("registers", getRegisters());
  printer << ", ";
  bases("lanes", getLanes());
  printer << ", ";
  bases("warps", getWarps());
  printer << ">";
}

LogicalResult LayoutAttr::verifyEncoding(ArrayRef<int64_t> shape, Type, function_ref<InFlightDiagnostic()> emitError) const {
  bool hasBases = !getRegisters().empty() || !getLanes().empty() || !getWarps().empty();
  if (hasBases && getRank() != static_cast<int64_t>(shape.size()))
    return emitError() << "expected a layout of rank " << shape.size() << ", got " << getRank();
  for (int64_t size : shape)
    if (!llvm::isPowerOf2_64(size))
      return emitError() << "expected sizes that are powers of two in a tile with a layout, got " << size;
  for (ArrayRef<int32_t> flat : {getRegisters(), getLanes(), getWarps()})
    for (auto [i, coordinate] : llvm::enumerate(flat))
      if (coordinate < 0 || coordinate >= shape[i % shape.size()])
        return emitError() << "expected coordinates below the tile's sizes, got " << coordinate << " along axis " << i % shape.size();
  return success();
}
