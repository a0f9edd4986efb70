//===- FormSteps.cpp - kernels of one token a chunk as the token's step ---===//
//
// Axes of size 1 go, and with them what relates the tokens of a chunk:
//
//   %r = tile.dot %q, %S : 1xK, KxV -> 1xV        ==>  %Q = tile.broadcast %q [0] : K -> KxV
//                                                      %P = arith.mulf %Q, %S
//                                                      %r = tile.reduce add %P axis 0 : KxV -> V
//   %S2 = tile.dot %k, %u init(%S) {transpose_a}  ==>  %S + (%k along rows) * (%u along columns)
//   tile.segsum, tile.inverse, tile.cumsum, tile.scan, masks   ==>  numbers and elementwise work
//
// For examples see test/Dialect/Tile/Transforms/form-steps.mlir.
//===----------------------------------------------------------------------===//
#include "fla/Dialect/Tile/IR/Tile.h"
#include "fla/Dialect/Tile/Transforms/Passes.h"
#include "mlir/Dialect/Utils/ReshapeOpsUtils.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/TypeSwitch.h"

#include <limits>

using namespace mlir;
using namespace fla::tile;

namespace fla {
#define GEN_PASS_DEF_FORMSTEPS
#include "fla/Dialect/Tile/Transforms/Passes.h.inc"
} // namespace fla

namespace {

ArrayRef<int64_t> shapeOf(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor ? tensor.getShape() : ArrayRef<int64_t>();
}

/// Axes that stay: those with more than one element.
SmallVector<int64_t> wideAxes(Type type) {
  SmallVector<int64_t> axes;
  for (auto [axis, size] : llvm::enumerate(shapeOf(type)))
    if (size != 1)
      axes.push_back(axis);
  return axes;
}

Type tileOf(ArrayRef<int64_t> shape, Type element) { return shape.empty() ? element : Type(RankedTensorType::get(shape, element)); }

/// The type without axes of size 1; a number where none are left.
Type narrowed(Type type) {
  SmallVector<int64_t> shape;
  for (int64_t axis : wideAxes(type))
    shape.push_back(shapeOf(type)[axis]);
  return tileOf(shape, getElementTypeOrSelf(type));
}

/// Rewrites one kernel. A value's narrow form has no axes of size 1; what still
/// wants the whole form gets a broadcast of the narrow one.
class StepFormer {
public:
  explicit StepFormer(KernelOp kernel) : builder(kernel.getContext()) {}

  void block(Block &body) {
    for (Operation &op : llvm::make_early_inc_range(body.without_terminator())) {
      for (Region &region : op.getRegions())
        block(region.front());
      visit(&op);
    }
  }

private:
  void visit(Operation *op) {
    builder.setInsertionPoint(op);
    loc = op->getLoc();
    if (auto scan = dyn_cast<ScanOp>(op))
      return formScan(scan);
    if (op->getNumResults() != 1 || op->getNumRegions())
      return;
    Value result = op->getResult(0), formed = form(op);
    if (!formed)
      return;
    result.replaceAllUsesWith(widen(formed, result.getType()));
    op->erase();
  }

  Value form(Operation *op) {
    auto isTouched = [](Type type) { return narrowed(type) != type; };
    if (!llvm::any_of(op->getOperandTypes(), isTouched) && !llvm::any_of(op->getResultTypes(), isTouched))
      return {};
    return llvm::TypeSwitch<Operation *, Value>(op)
        .Case([&](arith::ConstantOp x) { return formConstant(x); })
        .Case([&](BroadcastOp x) { return formBroadcast(x); })
        .Case([&](ReduceOp x) { return formReduce(x); })
        .Case([&](DotOp x) { return formDot(x); })
        .Case([&](TransposeOp x) { return narrow(x.getValue()); })
        .Case([&](CumSumOp x) { return shapeOf(x.getType())[0] != 1 ? Value()
                                       : x.getExclusive()           ? splat(0.0, x.getType())
                                                                    : narrow(x.getValue()); })
        .Case([&](SegSumOp x) { return formSegSum(x); })
        .Case([&](LevelDecayOp x) { return shapeOf(x.getType())[0] == 1 ? splat(0.0, x.getType()) : Value(); })
        .Case([&](InverseOp x) { return shapeOf(x.getType())[0] == 1 ? splat(1.0, x.getType()) : Value(); })
        .Case([&](ValidOp x) { return shapeOf(x.getType())[0] == 1 ? truth() : Value(); })
        .Case([&](tensor::ExtractSliceOp x) { return formExtract(x); })
        .Case([&](tensor::InsertSliceOp x) { return formInsert(x); })
        .Case<tensor::CollapseShapeOp, tensor::ExpandShapeOp>([&](auto x) { return formReshape(x.getSrc(), x.getType()); })
        .Default([&](Operation *x) { return x->hasTrait<OpTrait::Elementwise>() ? formElementwise(x) : Value(); });
  }

  //===--------------------------------------------------------------------===//
  // Narrow and whole forms
  //===--------------------------------------------------------------------===//

  Value narrow(Value value) {
    if (narrowed(value.getType()) == value.getType())
      return value;
    if (Value known = forms.lookup(value))
      return known;
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointAfterValue(value);
    Value part = value;
    auto wide = wideAxes(value.getType());
    for (int64_t axis = shapeOf(value.getType()).size() - 1; axis >= 0; --axis)
      if (!llvm::is_contained(wide, axis))
        part = reduce(ReduceKind::add, part, axis);
    return forms[value] = part;
  }

  /// The narrow `value` in the shape of `type`.
  Value widen(Value value, Type type) {
    if (value.getType() == type)
      return value;
    Value whole = BroadcastOp::create(builder, loc, cast<RankedTensorType>(type), value, wideAxes(type));
    forms[whole] = value;
    return whole;
  }

  Value splat(double number, Type like) {
    Type type = narrowed(like);
    auto value = FloatAttr::get(getElementTypeOrSelf(type), number);
    if (auto tensor = dyn_cast<RankedTensorType>(type))
      return arith::ConstantOp::create(builder, loc, DenseElementsAttr::get(tensor, value.getValue()));
    return arith::ConstantOp::create(builder, loc, value);
  }
  Value truth() { return arith::ConstantOp::create(builder, loc, builder.getBoolAttr(true)); }

  Value reduce(ReduceKind kind, Value value, int64_t axis) {
    SmallVector<int64_t> shape(shapeOf(value.getType()));
    shape.erase(shape.begin() + axis);
    return ReduceOp::create(builder, loc, tileOf(shape, getElementTypeOrSelf(value.getType())), kind, value, axis);
  }
  /// `value` along the axes of a tile of this shape.
  Value along(Value value, ArrayRef<int64_t> axes, ArrayRef<int64_t> shape) {
    Type whole = tileOf(shape, getElementTypeOrSelf(value.getType()));
    auto type = dyn_cast<RankedTensorType>(whole);
    if (value.getType() == whole)
      return value;
    if (Attribute number; axes.empty() && matchPattern(value, m_Constant(&number)))
      return arith::ConstantOp::create(builder, loc, DenseElementsAttr::get(type, number));
    return BroadcastOp::create(builder, loc, type, value, axes);
  }
  Value add(Value a, Value b) { return arith::AddFOp::create(builder, loc, a, b); }
  Value mul(Value a, Value b) { return arith::MulFOp::create(builder, loc, a, b); }

  //===--------------------------------------------------------------------===//
  // Elementwise operations and shapes
  //===--------------------------------------------------------------------===//

  Value formElementwise(Operation *op) {
    SmallVector<Value> operands = llvm::map_to_vector(op->getOperands(), [&](Value v) { return narrow(v); });
    Operation *formed = builder.create(loc, op->getName().getIdentifier(), operands, narrowed(op->getResult(0).getType()), op->getAttrs());
    SmallVector<Value> folded; // masks and factors that are numbers now
    if (failed(builder.tryFold(formed, folded)) || folded.empty())
      return formed->getResult(0);
    formed->erase();
    return folded.front();
  }

  Value formConstant(arith::ConstantOp op) {
    auto dense = dyn_cast<DenseElementsAttr>(op.getValue());
    if (!dense)
      return {};
    Type type = narrowed(op.getType());
    auto tensor = dyn_cast<RankedTensorType>(type);
    TypedAttr value = tensor ? TypedAttr(dense.reshape(tensor)) : cast<TypedAttr>(*dense.getValues<Attribute>().begin());
    return arith::ConstantOp::create(builder, loc, value);
  }

  Value formBroadcast(BroadcastOp op) {
    Value value = narrow(op.getValue());
    auto to = wideAxes(op.getType());
    SmallVector<int64_t> axes;
    for (int64_t axis : wideAxes(op.getValue().getType()))
      axes.push_back(std::distance(to.begin(), llvm::find(to, op.getAxes()[axis])));
    return along(value, axes, shapeOf(narrowed(op.getType())));
  }

  Value formReduce(ReduceOp op) {
    Value value = narrow(op.getValue());
    auto from = wideAxes(op.getValue().getType());
    auto axis = llvm::find(from, static_cast<int64_t>(op.getAxis()));
    return axis == from.end() ? value : reduce(op.getKind(), value, std::distance(from.begin(), axis));
  }

  Value formSegSum(SegSumOp op) {
    if (shapeOf(op.getType())[0] != 1)
      return {};
    bool isVisible = !op.getPre() && !op.getStrict();
    return splat(isVisible ? 0.0 : -std::numeric_limits<double>::infinity(), op.getType());
  }

  /// The same elements in another shape.
  Value formReshape(Value from, Type type) {
    Value value = narrow(from);
    auto to = dyn_cast<RankedTensorType>(narrowed(type)), source = dyn_cast<RankedTensorType>(value.getType());
    if (!to || to == source)
      return value;
    auto groups = getReassociationIndicesForReshape(source, to);
    if (!groups)
      return {};
    if (source.getRank() > to.getRank())
      return tensor::CollapseShapeOp::create(builder, loc, to, value, *groups);
    return tensor::ExpandShapeOp::create(builder, loc, to, value, *groups);
  }

  /// Offsets, sizes and strides of a slice along the axes that `whole` keeps.
  struct Slice {
    SmallVector<OpFoldResult> offsets, sizes, strides;
    SmallVector<int64_t> shape;
  };
  static Slice sliceOf(OffsetSizeAndStrideOpInterface op, Type whole) {
    Slice slice;
    for (int64_t axis : wideAxes(whole)) {
      slice.offsets.push_back(op.getMixedOffsets()[axis]);
      slice.sizes.push_back(op.getMixedSizes()[axis]);
      slice.strides.push_back(op.getMixedStrides()[axis]);
      slice.shape.push_back(op.getStaticSize(axis));
    }
    return slice;
  }

  Value formExtract(tensor::ExtractSliceOp op) {
    Value from = narrow(op.getSource());
    if (!isa<RankedTensorType>(from.getType()))
      return from;
    Slice slice = sliceOf(op, op.getSourceType());
    auto type = cast<RankedTensorType>(tileOf(slice.shape, op.getType().getElementType()));
    Value part = type == from.getType() ? from : tensor::ExtractSliceOp::create(builder, loc, type, from, slice.offsets, slice.sizes, slice.strides);
    return narrow(part);
  }

  Value formInsert(tensor::InsertSliceOp op) {
    if (op.getSourceType().getRank() != op.getType().getRank())
      return {};
    Value into = narrow(op.getDest());
    if (!isa<RankedTensorType>(into.getType()))
      return narrow(op.getSource());
    Slice slice = sliceOf(op, op.getType());
    Value part = widen(narrow(op.getSource()), tileOf(slice.shape, op.getType().getElementType()));
    if (part.getType() == into.getType())
      return part;
    return tensor::InsertSliceOp::create(builder, loc, part, into, slice.offsets, slice.sizes, slice.strides);
  }

  //===--------------------------------------------------------------------===//
  // Products and recurrences
  //===--------------------------------------------------------------------===//

  /// A product with an axis of size 1: multiply, then sum what is left of the inner axis.
  Value formDot(DotOp op) {
    auto a = shapeOf(op.getA().getType()), b = shapeOf(op.getB().getType()), c = shapeOf(op.getType());
    int64_t inner = a[1 - op.getTransposeA()];
    bool onePair = op.restrictsResult() ? c[0] == 1 && c[1] == 1 : a[0] == 1 && a[1] == 1;
    if ((c[0] != 1 && c[1] != 1 && inner != 1) || (op.getPairs() != Pairs::all && !onePair))
      return {};
    Value init = op.getInit() ? narrow(op.getInit()) : Value();
    if (op.getPairs() == Pairs::strict || op.getPairs() == Pairs::level)
      return init ? init : splat(0.0, op.getType());
    // Axes are named m, k and n; the operand that has two of them orders them.
    StringRef ofA = op.getTransposeA() ? "km" : "mk", ofB = op.getTransposeB() ? "nk" : "kn";
    auto wide = [](StringRef names, ArrayRef<int64_t> shape) {
      std::string kept;
      for (auto [name, size] : llvm::zip(names, shape))
        if (size != 1)
          kept += name;
      return kept;
    };
    std::string left = wide(ofA, a), right = wide(ofB, b);
    std::string all = left.size() == 2 ? left : right.size() == 2 ? right : left == right ? left : left + right;
    llvm::SmallDenseMap<char, int64_t> sizes{{'m', c[0]}, {'k', inner}, {'n', c[1]}};
    auto spread = [&](Value operand, StringRef axes) {
      auto positions = llvm::map_to_vector(axes, [&](char axis) { return static_cast<int64_t>(all.find(axis)); });
      return along(narrow(operand), positions, llvm::map_to_vector(StringRef(all), [&](char axis) { return sizes[axis]; }));
    };
    Value product = mul(spread(op.getA(), left), spread(op.getB(), right));
    if (size_t axis = all.find('k'); axis != std::string::npos)
      product = reduce(ReduceKind::add, product, axis);
    return init ? add(init, product) : product;
  }

  Value logAddExp(Value a, Value b) {
    Value most = arith::MaximumFOp::create(builder, loc, a, b);
    Value distance = math::AbsFOp::create(builder, loc, arith::SubFOp::create(builder, loc, a, b));
    Value smaller = math::ExpOp::create(builder, loc, arith::NegFOp::create(builder, loc, distance));
    Value sum = add(most, math::Log1pOp::create(builder, loc, smaller));
    Value lowest = splat(-std::numeric_limits<double>::infinity(), most.getType());
    Value isLowest = arith::CmpFOp::create(builder, loc, arith::CmpFPredicate::OEQ, most, lowest);
    return arith::SelectOp::create(builder, loc, isLowest, most, sum);
  }

  /// The step of an elementwise recurrence over one row.
  void formScan(ScanOp op) {
    if (shapeOf(op.getDecay().getType())[0] != 1)
      return;
    Value state = narrow(op.getInitial()), decay = narrow(op.getDecay()), input = narrow(op.getInput()), next;
    switch (op.getKind()) {
    case fla::ScanKind::linear:
      next = add(mul(decay, state), input);
      break;
    case fla::ScanKind::log:
      next = logAddExp(add(state, decay), input);
      break;
    case fla::ScanKind::max:
      next = arith::MaximumFOp::create(builder, loc, add(state, decay), input);
      break;
    }
    op.getPrev().replaceAllUsesWith(widen(state, op.getPrev().getType()));
    op.getNext().replaceAllUsesWith(widen(next, op.getNext().getType()));
    op.getLast().replaceAllUsesWith(widen(next, op.getLast().getType()));
    op->erase();
  }

  OpBuilder builder;
  Location loc = builder.getUnknownLoc();
  DenseMap<Value, Value> forms; ///< narrow forms of values with axes of size 1
};

struct FormSteps : fla::impl::FormStepsBase<FormSteps> {
  void runOnOperation() override {
    for (auto kernel : getOperation().getOps<KernelOp>())
      if (kernel.getChunk() == 1)
        StepFormer(kernel).block(kernel.getBody().front());
  }
};
} // namespace
