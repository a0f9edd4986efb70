//===- TileDialect.cpp - the tile dialect and its buffers -----------------===//
#include "fla/Dialect/Tile/IR/Tile.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace fla::tile;

#include "fla/Dialect/Tile/IR/TileDialect.cpp.inc"
#include "fla/Dialect/Tile/IR/TileEnums.cpp.inc"

#define GET_ATTRDEF_CLASSES
#include "fla/Dialect/Tile/IR/TileAttrs.cpp.inc"

#define GET_TYPEDEF_CLASSES
#include "fla/Dialect/Tile/IR/TileTypes.cpp.inc"

void TileDialect::initialize() {
  addOperations<
#define GET_OP_LIST
#include "fla/Dialect/Tile/IR/TileOps.cpp.inc"
      >();
  addAttributes<
#define GET_ATTRDEF_LIST
#include "fla/Dialect/Tile/IR/TileAttrs.cpp.inc"
      >();
  addTypes<
#define GET_TYPEDEF_LIST
#include "fla/Dialect/Tile/IR/TileTypes.cpp.inc"
      >();
}

Type BufferType::parse(AsmParser &parser) {
  StringRef keyword;
  SMLoc loc = parser.getCurrentLocation();
  SmallVector<int64_t> shape;
  Type element;
  if (parser.parseLess() || parser.parseKeyword(&keyword) || parser.parseComma() || parser.parseDimensionList(shape, /*allowDynamic=*/false) ||
      parser.parseType(element) || parser.parseGreater())
    return {};
  std::optional<BufferKind> kind = symbolizeBufferKind(keyword);
  if (!kind) {
    parser.emitError(loc) << "expected a buffer kind (token, param, value, state or saved), got '" << keyword << "'";
    return {};
  }
  return BufferType::get(parser.getContext(), *kind, shape, element);
}

void BufferType::print(AsmPrinter &printer) const {
  printer << "<" << stringifyBufferKind(getKind()) << ", ";
  for (int64_t size : getShape())
    printer << size << "x";
  printer << getElementType() << ">";
}

Type SharedType::parse(AsmParser &parser) {
  int64_t stages;
  SmallVector<int64_t> shape;
  Type element;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseLess() || parser.parseInteger(stages) || parser.parseComma() || parser.parseDimensionList(shape, /*allowDynamic=*/false) ||
      parser.parseType(element) || parser.parseGreater())
    return {};
  if (stages < 1) {
    parser.emitError(loc) << "expected at least one stage, got " << stages;
    return {};
  }
  return SharedType::get(parser.getContext(), stages, shape, element);
}

void SharedType::print(AsmPrinter &printer) const {
  printer << "<" << getStages() << ", ";
  for (int64_t size : getShape())
    printer << size << "x";
  printer << getElementType() << ">";
}
