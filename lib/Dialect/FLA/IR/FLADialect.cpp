//===- FLADialect.cpp - dialect, dimensions, helpers ----------------------===//
#include "fla/Dialect/FLA/IR/FLA.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace fla;

#include "fla/Dialect/FLA/IR/FLADialect.cpp.inc"
#include "fla/Dialect/FLA/IR/FLAEnums.cpp.inc"

#define GET_ATTRDEF_CLASSES
#include "fla/Dialect/FLA/IR/FLAAttributes.cpp.inc"

void FLADialect::initialize() {
  addOperations<
#define GET_OP_LIST
#include "fla/Dialect/FLA/IR/FLAOps.cpp.inc"
      >();
  addAttributes<
#define GET_ATTRDEF_LIST
#include "fla/Dialect/FLA/IR/FLAAttributes.cpp.inc"
      >();
}

//===----------------------------------------------------------------------===//
// #fla.dims
//===----------------------------------------------------------------------===//

static bool isIdentifier(StringRef name) {
  return !name.empty() && (llvm::isAlpha(name.front()) || name.front() == '_') &&
         llvm::all_of(name, [](char c) { return llvm::isAlnum(c) || c == '_'; });
}

Attribute DimsAttr::parse(AsmParser &parser, Type) {
  SmallVector<StringAttr> names;
  auto parseName = [&]() -> ParseResult {
    std::string name;
    if (parser.parseKeywordOrString(&name))
      return failure();
    names.push_back(StringAttr::get(parser.getContext(), name));
    return success();
  };
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseCommaSeparatedList(AsmParser::Delimiter::LessGreater, parseName))
    return {};
  return parser.getChecked<DimsAttr>(loc, parser.getContext(), names);
}

void DimsAttr::print(AsmPrinter &printer) const {
  printer << "<";
  llvm::interleaveComma(getNames(), printer, [&](StringAttr name) {
    if (isIdentifier(name.getValue()))
      printer << name.getValue();
    else
      printer.printString(name.getValue());
  });
  printer << ">";
}

LogicalResult DimsAttr::verify(function_ref<InFlightDiagnostic()> emitError, ArrayRef<StringAttr> names) {
  llvm::SmallDenseSet<StringAttr> seen;
  for (StringAttr name : names) {
    if (name.getValue().empty())
      return emitError() << "expected a dimension name, got an empty string (C2)";
    if (!seen.insert(name).second)
      return emitError() << "dimension '" << name.getValue() << "' occurs twice in one value; name its axes apart, for instance '"
                         << name.getValue() << "' and \"" << name.getValue() << "'\" (C2)";
  }
  return success();
}

LogicalResult DimsAttr::verifyEncoding(ArrayRef<int64_t> shape, Type, function_ref<InFlightDiagnostic()> emitError) const {
  if (shape.size() != getNames().size())
    return emitError() << "expected one dimension name for each of " << shape.size() << " axes, got " << getNames().size() << " (C1)";
  return success();
}

int64_t DimsAttr::find(StringRef name) const {
  for (auto [i, other] : llvm::enumerate(getNames()))
    if (other.getValue() == name)
      return i;
  return -1;
}

DimsAttr DimsAttr::get(MLIRContext *context, ArrayRef<StringRef> names) {
  SmallVector<StringAttr> attrs;
  for (StringRef name : names)
    attrs.push_back(StringAttr::get(context, name));
  return get(context, attrs);
}

//===----------------------------------------------------------------------===//
// Helpers
//===----------------------------------------------------------------------===//

ArrayRef<StringAttr> fla::getDims(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  auto dims = tensor ? dyn_cast_or_null<DimsAttr>(tensor.getEncoding()) : DimsAttr();
  return dims ? dims.getNames() : ArrayRef<StringAttr>();
}

int64_t fla::findDim(Type type, StringRef name) {
  for (auto [i, dim] : llvm::enumerate(getDims(type)))
    if (dim.getValue() == name)
      return i;
  return -1;
}

Type fla::getValueType(MLIRContext *context, ArrayRef<StringAttr> dims) {
  Type f64 = Float64Type::get(context);
  if (dims.empty())
    return f64;
  SmallVector<int64_t> shape(dims.size(), ShapedType::kDynamic);
  return RankedTensorType::get(shape, f64, DimsAttr::get(context, dims));
}

std::string fla::dimsToString(Type type) {
  if (!isa<RankedTensorType>(type))
    return "a scalar";
  std::string text = "[";
  llvm::raw_string_ostream os(text);
  llvm::interleaveComma(getDims(type), os, [&](StringAttr dim) { os << dim.getValue(); });
  return text + "]";
}

bool fla::isElementwise(Operation *op) {
  Dialect *dialect = op->getDialect();
  if (!dialect || isa<arith::ConstantOp>(op))
    return false;
  StringRef name = dialect->getNamespace();
  return (name == "arith" || name == "math") || isa<SigmoidOp, SoftplusOp, LogAddExpOp>(op);
}
