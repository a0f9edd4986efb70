//===- TileAlgebra.cpp - builds tiles of static shape ---------------------===//
#include "TileAlgebra.h"
#include "fla/Support/Dims.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace fla;

ArrayRef<int64_t> fla::shapeOf(Value value) {
  auto tensor = dyn_cast<RankedTensorType>(value.getType());
  return tensor ? tensor.getShape() : ArrayRef<int64_t>();
}

//===----------------------------------------------------------------------===//
// Sizes
//===----------------------------------------------------------------------===//

int64_t TileSizes::fullSize(StringAttr dim) const {
  if (dim.getValue() == kTokens || dim.getValue() == kPast)
    return chunk;
  return evaluateDim(dim.getValue(), dims).value_or(0);
}

SmallVector<int64_t> TileSizes::shape(ArrayRef<StringAttr> names) const {
  return llvm::map_to_vector(names, [&](StringAttr dim) { return of(dim); });
}

Type TileSizes::convert(Type type) const {
  Type element = getElementTypeOrSelf(type);
  if (isa<FloatType>(element))
    element = computeType;
  ArrayRef<StringAttr> names = getDims(type);
  return names.empty() ? element : RankedTensorType::get(shape(names), element);
}

//===----------------------------------------------------------------------===//
// Algebra
//===----------------------------------------------------------------------===//

static std::optional<double> splatOf(Value value) {
  if (auto broadcast = value.getDefiningOp<tile::BroadcastOp>())
    return splatOf(broadcast.getValue());
  Attribute attr;
  if (!matchPattern(value, m_Constant(&attr)))
    return std::nullopt;
  if (auto number = dyn_cast<FloatAttr>(attr))
    return number.getValueAsDouble();
  auto dense = dyn_cast<DenseFPElementsAttr>(attr);
  return dense && dense.isSplat() ? std::optional(dense.getSplatValue<APFloat>().convertToDouble()) : std::nullopt;
}

bool TileAlgebra::isZero(Value value) { return splatOf(value) == 0.0; }

Value TileAlgebra::splat(double value, Type type) {
  auto element = cast<FloatType>(getElementTypeOrSelf(type));
  auto number = FloatAttr::get(element, value);
  if (auto tensor = dyn_cast<RankedTensorType>(type))
    return arith::ConstantOp::create(builder, loc, DenseElementsAttr::get(tensor, number.getValue()));
  return arith::ConstantOp::create(builder, loc, number);
}

Value TileAlgebra::zeros(ArrayRef<int64_t> shape) { return splat(0.0, RankedTensorType::get(shape, sizes.computeType)); }

Value TileAlgebra::broadcast(Value value, ArrayRef<StringAttr> from, ArrayRef<StringAttr> to) {
  if (from == to)
    return value;
  SmallVector<int64_t> axes;
  for (StringAttr dim : from)
    axes.push_back(std::distance(to.begin(), llvm::find(to, dim)));
  auto type = RankedTensorType::get(sizes.shape(to), getElementTypeOrSelf(value.getType()));
  return tile::BroadcastOp::create(builder, loc, type, value, axes);
}

Value TileAlgebra::alongRows(Value perRow, Type type) { return tile::BroadcastOp::create(builder, loc, type, perRow, ArrayRef<int64_t>{0}); }

Value TileAlgebra::add(Value a, Value b) {
  if (!a || !b)
    return a ? a : b;
  if (isZero(a))
    return b;
  return isZero(b) ? a : arith::AddFOp::create(builder, loc, a, b).getResult();
}
Value TileAlgebra::sub(Value a, Value b) { return isZero(b) ? a : arith::SubFOp::create(builder, loc, a, b).getResult(); }
Value TileAlgebra::mul(Value a, Value b) {
  if (isZero(a) || splatOf(b) == 1.0)
    return a;
  if (isZero(b) || splatOf(a) == 1.0)
    return b;
  return arith::MulFOp::create(builder, loc, a, b);
}
Value TileAlgebra::div(Value a, Value b) { return arith::DivFOp::create(builder, loc, a, b); }
Value TileAlgebra::neg(Value a) { return isZero(a) ? a : arith::NegFOp::create(builder, loc, a).getResult(); }
Value TileAlgebra::exp(Value a) { return isZero(a) ? splat(1.0, a.getType()) : math::ExpOp::create(builder, loc, a).getResult(); }
Value TileAlgebra::maximum(Value a, Value b) { return arith::MaximumFOp::create(builder, loc, a, b); }

Value TileAlgebra::reduce(tile::ReduceKind kind, Value value, int64_t axis) {
  SmallVector<int64_t> shape(shapeOf(value));
  shape.erase(shape.begin() + axis);
  Type element = getElementTypeOrSelf(value.getType());
  Type type = shape.empty() ? element : RankedTensorType::get(shape, element);
  if (kind == tile::ReduceKind::add && isZero(value))
    return splat(0.0, type);
  return tile::ReduceOp::create(builder, loc, type, kind, value, axis);
}

Value TileAlgebra::dot(Value a, Value b, DotFlags flags) {
  int64_t m = shapeOf(a)[flags.transposeA], n = shapeOf(b)[1 - flags.transposeB];
  auto type = RankedTensorType::get({m, n}, sizes.computeType);
  if (isZero(a) || isZero(b))
    return splat(0.0, type);
  return tile::DotOp::create(builder, loc, type, a, b, /*init=*/Value(), flags.transposeA, flags.transposeB, flags.pairs, flags.level);
}

static SmallVector<OpFoldResult> indices(OpBuilder &builder, ArrayRef<int64_t> values) { return getAsIndexOpFoldResult(builder.getContext(), values); }

Value TileAlgebra::slice(Value value, ArrayRef<int64_t> offsets, ArrayRef<int64_t> extents, ArrayRef<int64_t> strides) {
  return tensor::ExtractSliceOp::create(builder, loc, value, indices(builder, offsets), indices(builder, extents), indices(builder, strides));
}

Value TileAlgebra::insert(Value value, Value into, ArrayRef<int64_t> offsets, ArrayRef<int64_t> strides) {
  return tensor::InsertSliceOp::create(builder, loc, value, into, indices(builder, offsets), indices(builder, shapeOf(value)),
                                       indices(builder, strides));
}

Value TileAlgebra::reshape(Value value, ArrayRef<int64_t> shape) {
  if (shapeOf(value) == shape)
    return value;
  auto type = RankedTensorType::get(shape, getElementTypeOrSelf(value.getType()));
  if (!isa<RankedTensorType>(value.getType()))
    return tile::BroadcastOp::create(builder, loc, type, value, ArrayRef<int64_t>{});
  auto groups = getReassociationIndicesForReshape(cast<RankedTensorType>(value.getType()), type);
  if (shapeOf(value).size() > shape.size())
    return tensor::CollapseShapeOp::create(builder, loc, type, value, *groups);
  return tensor::ExpandShapeOp::create(builder, loc, type, value, *groups);
}
