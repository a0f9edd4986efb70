//===- AssignStepLayouts.cpp - layouts in which a state never moves -------===//
//
//   %S : 64x64 is held by columns; then, with #rows and #columns its slices,
//
//   %Q = tile.broadcast %q [0] : 64 -> 64x64     ==>  %q is loaded as #rows
//   %r = tile.reduce add %P axis 0 : 64x64 -> 64 ==>  %r is held as #columns, as is what it meets
//   tile.store %r, %o                            ==>  stored by whom holds it
//
// For examples see test/Dialect/Tile/Transforms/assign-step-layouts.mlir.
//===----------------------------------------------------------------------===//
#include "fla/Dialect/Tile/IR/Tile.h"
#include "fla/Dialect/Tile/Transforms/Passes.h"

using namespace mlir;
using namespace fla::tile;

namespace fla {
#define GEN_PASS_DEF_ASSIGNSTEPLAYOUTS
#include "fla/Dialect/Tile/Transforms/Passes.h.inc"
} // namespace fla

namespace {

/// Hands out the bits of a tile's coordinates, each once.
class CoordinateBits {
public:
  explicit CoordinateBits(ArrayRef<int64_t> shape) : shape(shape), next(shape.size(), 1) {}

  /// At most `count` bits of an axis.
  Bases take(int64_t axis, int64_t count) {
    Bases taken;
    for (; count > 0 && next[axis] < shape[axis]; --count, next[axis] *= 2) {
      Coordinates basis(shape.size(), 0);
      basis[axis] = next[axis];
      taken.push_back(basis);
    }
    return taken;
  }
  /// At most `count` bits of the axes before the last, the inner one first.
  Bases takeRows(int64_t count) {
    Bases taken;
    for (int64_t axis = shape.size() - 2; axis >= 0; --axis)
      llvm::append_range(taken, take(axis, count - taken.size()));
    return taken;
  }
  Bases takeColumns(int64_t count) { return take(shape.size() - 1, count); }
  /// Zeros for bits that find nothing: copies.
  void fill(Bases &bases, int64_t count) const { bases.resize(count, Coordinates(shape.size(), 0)); }

private:
  ArrayRef<int64_t> shape;
  SmallVector<int64_t> next;
};

/// Layouts of a target with so many lanes and warps.
struct StepLayouts {
  int64_t lanes, warps;

  /// By columns: 4 neighbours a thread, 4 threads a row, other lanes along the
  /// rows, warps along the columns, and what is left in registers.
  LinearLayout matrix(ArrayRef<int64_t> shape) const {
    constexpr int64_t kAll = 64, kNeighbours = 2, kAcross = 2; // as numbers of bits
    CoordinateBits bits(shape);
    int64_t laneBits = llvm::Log2_64(lanes), warpBits = llvm::Log2_64(warps);
    Bases registers = bits.takeColumns(kNeighbours), ofLane = bits.takeColumns(kAcross);
    llvm::append_range(ofLane, bits.takeRows(laneBits - ofLane.size()));
    llvm::append_range(ofLane, bits.takeColumns(laneBits - ofLane.size()));
    bits.fill(ofLane, laneBits);
    Bases ofWarp = bits.takeColumns(warpBits);
    llvm::append_range(ofWarp, bits.takeRows(warpBits - ofWarp.size()));
    bits.fill(ofWarp, warpBits);
    llvm::append_range(registers, bits.takeColumns(kAll));
    llvm::append_range(registers, bits.takeRows(kAll));
    return LinearLayout(shape, registers, ofLane, ofWarp);
  }
  /// Of a vector that meets no matrix.
  LinearLayout vector(int64_t size) const {
    int64_t width = std::clamp<int64_t>(size / (lanes * warps), 1, 4);
    return LinearLayout::blocked({size}, width, lanes, warps);
  }
};

RankedTensorType tensorOf(Value value) { return dyn_cast<RankedTensorType>(value.getType()); }

/// Axes with more than one element.
SmallVector<int64_t> wideAxes(RankedTensorType type) {
  SmallVector<int64_t> axes;
  for (auto [axis, size] : llvm::enumerate(type.getShape()))
    if (size != 1)
      axes.push_back(axis);
  return axes;
}

/// A layout of the axes `axes` as one of a tile that has others of size 1 as well.
LinearLayout widen(const LinearLayout &layout, ArrayRef<int64_t> axes, ArrayRef<int64_t> shape) {
  auto wide = [&](const Bases &bases) {
    Bases result;
    for (const Coordinates &basis : bases) {
      Coordinates all(shape.size(), 0);
      for (auto [axis, coordinate] : llvm::zip(axes, basis))
        all[axis] = coordinate;
      result.push_back(all);
    }
    return result;
  };
  return LinearLayout(shape, wide(layout.registerBases()), wide(layout.laneBases()), wide(layout.warpBases()));
}

class StepAssigner {
public:
  StepAssigner(const StepLayouts &layouts, MLIRContext *context) : layouts(layouts), builder(context) {}

  void run(KernelOp kernel) {
    block(kernel.getBody().front());
    for (Operation *op : llvm::reverse(templates))
      if (op->use_empty())
        op->erase();
  }

private:
  //===--------------------------------------------------------------------===//
  // Layouts of values
  //===--------------------------------------------------------------------===//

  static RankedTensorType with(RankedTensorType type, const LinearLayout &layout) {
    return RankedTensorType::get(type.getShape(), type.getElementType(), LayoutAttr::get(type.getContext(), layout));
  }
  LinearLayout standard(RankedTensorType type) const {
    SmallVector<int64_t> axes = wideAxes(type), shape;
    for (int64_t axis : axes)
      shape.push_back(type.getDimSize(axis));
    LinearLayout narrow = shape.empty()       ? LinearLayout::blocked({1}, 1, layouts.lanes, layouts.warps)
                          : shape.size() == 1 ? layouts.vector(shape[0])
                                              : layouts.matrix(shape);
    return shape.empty() ? widen(narrow, {0}, type.getShape()) : widen(narrow, axes, type.getShape());
  }

  /// Computed wherever it is wanted, in the layout that is wanted: loads of vectors,
  /// constants, and elementwise work on such.
  bool isTemplate(Value value) const { return value.getDefiningOp() && isCopied.contains(value.getDefiningOp()); }

  bool becomesTemplate(Operation *op) const {
    if (op->getNumResults() != 1 || !tensorOf(op->getResult(0)) || wideAxes(tensorOf(op->getResult(0))).size() > 1)
      return false;
    if (isa<LoadOp, arith::ConstantOp>(op))
      return true;
    if (auto broadcast = dyn_cast<BroadcastOp>(op))
      return !tensorOf(broadcast.getValue()) || (isTemplate(broadcast.getValue()) && sameElements(broadcast.getValue(), broadcast));
    if (auto reduce = dyn_cast<ReduceOp>(op))
      return isTemplate(reduce.getValue()) && sameElements(reduce.getValue(), reduce);
    return op->hasTrait<OpTrait::Elementwise>() && llvm::all_of(op->getOperands(), [&](Value v) { return !tensorOf(v) || isTemplate(v); });
  }
  static bool sameElements(Value a, Value b) { return tensorOf(a) && tensorOf(b) && tensorOf(a).getNumElements() == tensorOf(b).getNumElements(); }

  /// A layout of the same elements in a shape that differs by axes of size 1.
  static LinearLayout reshaped(const LinearLayout &layout, RankedTensorType from, RankedTensorType to) {
    SmallVector<int64_t> axes = wideAxes(from), others = wideAxes(to);
    return axes.empty() ? widen(layout.select({0}), {0}, to.getShape()) : widen(layout.select(axes), others, to.getShape());
  }

  Value get(Value value, const LinearLayout &wanted) {
    RankedTensorType type = with(tensorOf(value), wanted);
    if (value.getType() == type)
      return value;
    auto key = std::pair(value, type.getEncoding());
    if (Value known = forms.lookup(key))
      return known;
    if (isTemplate(value))
      return forms[key] = instantiate(value.getDefiningOp(), wanted);
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointAfterValue(value);
    return forms[key] = ConvertLayoutOp::create(builder, value.getLoc(), type, value);
  }

  Value instantiate(Operation *op, const LinearLayout &wanted) {
    RankedTensorType type = tensorOf(op->getResult(0));
    IRMapping mapping;
    for (Value operand : op->getOperands())
      if (RankedTensorType own = tensorOf(operand))
        mapping.map(operand, get(operand, own.getShape() == type.getShape() ? wanted : reshaped(wanted, type, own)));
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointAfter(op);
    Operation *copy = builder.clone(*op, mapping);
    setLayout(copy->getResult(0), wanted);
    return copy->getResult(0);
  }

  static void setLayout(Value result, const LinearLayout &layout) {
    RankedTensorType type = with(tensorOf(result), layout);
    if (auto constant = result.getDefiningOp<arith::ConstantOp>())
      constant.setValueAttr(cast<DenseElementsAttr>(constant.getValue()).reshape(type));
    result.setType(type);
  }
  void setStandard(Value result) {
    if (RankedTensorType type = tensorOf(result))
      setLayout(result, standard(type));
  }
  void setOperand(OpOperand &operand, const LinearLayout &layout) { operand.set(get(operand.get(), layout)); }
  void setStandard(OpOperand &operand) {
    if (RankedTensorType type = tensorOf(operand.get()))
      setOperand(operand, standard(type));
  }
  /// Where an operand is a template it is made as tiles of its shape usually are.
  void settle(OpOperand &operand) {
    if (isTemplate(operand.get()))
      setStandard(operand);
  }

  //===--------------------------------------------------------------------===//
  // Operations
  //===--------------------------------------------------------------------===//

  void block(Block &body) {
    for (Operation &op : llvm::make_early_inc_range(body.without_terminator()))
      operation(&op);
  }

  void operation(Operation *op) {
    if (becomesTemplate(op)) {
      isCopied.insert(op);
      templates.push_back(op);
    } else if (auto loop = dyn_cast<scf::ForOp>(op)) {
      forLoop(loop);
    } else if (auto store = dyn_cast<StoreOp>(op)) {
      settle(store.getValueMutable());
    } else if (auto reduce = dyn_cast<ReduceOp>(op)) {
      settle(reduce.getValueMutable());
      if (tensorOf(reduce))
        setLayout(reduce, layoutOf(reduce.getValue().getType())->dropAxis(reduce.getAxis()).withoutCopies());
    } else if (auto spread = dyn_cast<BroadcastOp>(op)) {
      broadcast(spread);
    } else if (op->hasTrait<OpTrait::Elementwise>()) {
      elementwise(op);
    } else {
      for (OpOperand &operand : op->getOpOperands())
        setStandard(operand);
      for (Value result : op->getResults())
        setStandard(result);
    }
  }

  void broadcast(BroadcastOp op) {
    RankedTensorType from = tensorOf(op.getValue()), to = tensorOf(op);
    if (from && !isTemplate(op.getValue()) && sameElements(op.getValue(), op))
      return setLayout(op, reshaped(*layoutOf(from), from, to));
    LinearLayout layout = standard(to);
    if (from)
      setOperand(op.getValueMutable(), layout.select(op.getAxes()).withoutCopies());
    setLayout(op, layout);
  }

  /// Held as the first operand is that is held already.
  void elementwise(Operation *op) {
    RankedTensorType type = tensorOf(op->getResult(0));
    if (!type)
      return;
    LinearLayout layout = standard(type);
    for (Value operand : op->getOperands())
      if (tensorOf(operand) && !isTemplate(operand)) {
        layout = *layoutOf(operand.getType());
        break;
      }
    for (OpOperand &operand : op->getOpOperands())
      if (tensorOf(operand.get()))
        setOperand(operand, layout);
    setLayout(op->getResult(0), layout);
  }

  void forLoop(scf::ForOp loop) {
    for (OpOperand &init : loop.getInitArgsMutable())
      setStandard(init);
    for (auto [arg, result] : llvm::zip_equal(loop.getRegionIterArgs(), loop.getResults()))
      setStandard(arg), setStandard(result);
    block(*loop.getBody());
    for (OpOperand &next : loop.getBody()->getTerminator()->getOpOperands())
      setStandard(next);
  }

  const StepLayouts &layouts;
  OpBuilder builder;
  DenseSet<Operation *> isCopied;
  SmallVector<Operation *> templates;
  DenseMap<std::pair<Value, Attribute>, Value> forms; ///< a value in a layout
};

/// A kernel of steps, whose tiles have no layouts yet: sizes are powers of two,
/// nothing relates tokens, and there are no products of matrices.
bool isStep(KernelOp kernel) {
  if (kernel.getChunk() != 1)
    return false;
  auto other = kernel.walk([&](Operation *op) {
    bool isOfChunks = isa<DotOp, InverseOp, CumSumOp, SegSumOp, SegSumGradOp, LevelDecayOp, LevelDecayGradOp, ScanOp, ScanGradOp>(op);
    bool fits = llvm::all_of(op->getResultTypes(), [](Type type) {
      auto tensor = dyn_cast<RankedTensorType>(type);
      return !tensor || (!tensor.getEncoding() && llvm::all_of(tensor.getShape(), llvm::isPowerOf2_64));
    });
    return isOfChunks || !fits ? WalkResult::interrupt() : WalkResult::advance();
  });
  return !other.wasInterrupted();
}

struct AssignStepLayouts : fla::impl::AssignStepLayoutsBase<AssignStepLayouts> {
  using AssignStepLayoutsBase::AssignStepLayoutsBase;

  void runOnOperation() override {
    if (!llvm::isPowerOf2_64(lanes) || !llvm::isPowerOf2_64(warps)) {
      getOperation().emitError() << "expected lanes and warps that are powers of two, got " << lanes.getValue() << " and " << warps.getValue();
      return signalPassFailure();
    }
    StepLayouts layouts{lanes, warps};
    for (auto kernel : getOperation().getOps<KernelOp>())
      if (isStep(kernel))
        StepAssigner(layouts, &getContext()).run(kernel);
  }
};
} // namespace
