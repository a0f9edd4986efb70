//===- AssignLayouts.cpp - which thread holds which element ---------------===//
//
//   %p = tile.dot %a, %b : ... -> tensor<64x64xf32>      ==>  tensor<64x64xf32, #accumulator>
//   ..., %s, ... = tile.scan linear %i, %d, %x           ==>  %d1 = tile.convert_layout %d
//                                                             ..., %s1, ... = tile.scan linear %i, %d1, %x1   (columns)
//                                                             %s = tile.convert_layout %s1
//
// For examples see test/Dialect/Tile/Transforms/assign-layouts.mlir.
//===----------------------------------------------------------------------===//
#include "fla/Dialect/Tile/IR/Tile.h"
#include "fla/Dialect/Tile/Transforms/Passes.h"
#include "mlir/AsmParser/AsmParser.h"

using namespace mlir;
using namespace fla::tile;

namespace fla {
#define GEN_PASS_DEF_ASSIGNLAYOUTS
#include "fla/Dialect/Tile/Transforms/Passes.h.inc"
} // namespace fla

namespace {

/// The layouts that a target has, by shape.
struct Layouts {
  int64_t lanes, warps;
  std::optional<LinearLayout> atom;

  /// What a tile of this shape is held as between operations.
  LinearLayout standard(ArrayRef<int64_t> shape) const {
    if (shape.size() == 2 && atom && shape[0] >= atom->shape()[0] && shape[1] >= atom->shape()[1]) {
      // Two atoms below each other share what they read of the right operand.
      int64_t rowAtoms = shape[0] / atom->shape()[0];
      return LinearLayout::tiled(shape, *atom, warps, std::max<int64_t>(1, rowAtoms / 2));
    }
    // Each warp holds all of a vector, if that is few numbers.
    if (shape.size() == 1 && shape[0] <= 4 * lanes)
      return LinearLayout(shape, LinearLayout::blocked(shape, 1, lanes, 1).registerBases(), LinearLayout::blocked(shape, 1, lanes, 1).laneBases(),
                          Bases(llvm::Log2_64(warps), Coordinates{0}));
    // Tokens of elementwise matrix states are scanned far more often than they meet others.
    return shape.size() > 2 ? columns(shape) : LinearLayout::blocked(shape, 1, lanes, warps);
  }

  /// All of the first axis in each thread's registers, the rest over threads.
  LinearLayout columns(ArrayRef<int64_t> shape) const {
    SmallVector<int64_t> rest(shape.drop_front());
    LinearLayout across = rest.empty() ? LinearLayout() : LinearLayout::blocked(rest, 1, lanes, warps);
    auto widen = [&](const Bases &bases, int64_t bits) {
      Bases wide;
      for (int64_t i = 0; i < bits; ++i) {
        Coordinates basis(shape.size(), 0);
        if (i < static_cast<int64_t>(bases.size()))
          llvm::copy(bases[i], basis.begin() + 1);
        wide.push_back(basis);
      }
      return wide;
    };
    Bases registers;
    for (int64_t bit = 1; bit < shape[0]; bit *= 2) {
      Coordinates basis(shape.size(), 0);
      basis[0] = bit;
      registers.push_back(basis);
    }
    for (const Coordinates &basis : widen(across.registerBases(), across.registerBases().size()))
      registers.push_back(basis);
    return LinearLayout(shape, registers, widen(across.laneBases(), llvm::Log2_64(lanes)), widen(across.warpBases(), llvm::Log2_64(warps)));
  }
};

/// Operations that go along the tokens, one column after the other.
bool isAlongTokens(Operation *op) { return isa<ScanOp, ScanGradOp>(op); }

class Assigner {
public:
  Assigner(const Layouts &layouts, MLIRContext *context) : layouts(layouts), builder(context) {}

  LogicalResult run(KernelOp kernel) {
    auto wrong = kernel.walk([&](Operation *op) {
      for (Type type : op->getResultTypes())
        if (auto tensor = dyn_cast<RankedTensorType>(type))
          for (int64_t size : tensor.getShape())
            if (!llvm::isPowerOf2_64(size)) {
              op->emitError() << "expected sizes that are powers of two in a kernel for a GPU, got " << tensor;
              return WalkResult::interrupt();
            }
      return WalkResult::advance();
    });
    if (wrong.wasInterrupted())
      return failure();
    block(kernel.getBody().front());
    return success();
  }

private:
  RankedTensorType with(Type type, const LinearLayout &layout) {
    auto tensor = cast<RankedTensorType>(type);
    return RankedTensorType::get(tensor.getShape(), tensor.getElementType(), LayoutAttr::get(type.getContext(), layout));
  }
  Type standard(Type type) {
    auto tensor = dyn_cast<RankedTensorType>(type);
    return tensor ? Type(with(tensor, layouts.standard(tensor.getShape()))) : type;
  }
  /// What a scan carries from row to row: a row of the columns.
  Type carry(Type type, Type rows) {
    auto tensor = dyn_cast<RankedTensorType>(type);
    if (!tensor)
      return type;
    LinearLayout all = layouts.columns(cast<RankedTensorType>(rows).getShape());
    return with(type, all.select(llvm::to_vector(llvm::seq<int64_t>(1, all.rank()))).withoutCopies());
  }
  Type columns(Type type) {
    auto tensor = dyn_cast<RankedTensorType>(type);
    return tensor ? Type(with(tensor, layouts.columns(tensor.getShape()))) : type;
  }

  Value convert(Value value, Type type) {
    if (value.getType() == type)
      return value;
    return ConvertLayoutOp::create(builder, value.getLoc(), type, value);
  }
  void convertOperand(OpOperand &operand, Type type) {
    builder.setInsertionPoint(operand.getOwner());
    operand.set(convert(operand.get(), type));
  }
  /// The result gets `type` and, for all its users, the standard layout.
  void convertResult(OpResult result, Type type) {
    Type wanted = standard(result.getType());
    result.setType(type);
    if (type == wanted || result.use_empty())
      return;
    builder.setInsertionPointAfter(result.getOwner());
    auto converted = ConvertLayoutOp::create(builder, result.getLoc(), wanted, result);
    result.replaceAllUsesExcept(converted, converted);
  }

  void block(Block &body) {
    for (Operation &op : llvm::make_early_inc_range(body))
      operation(&op);
  }

  void alongTokens(Operation *op) {
    Type rows;
    Value into, outOf;
    if (auto scan = dyn_cast<ScanOp>(op))
      rows = scan.getDecay().getType(), into = scan.getInitial(), outOf = scan.getLast();
    if (auto grad = dyn_cast<ScanGradOp>(op))
      rows = grad.getDecay().getType(), into = grad.getDLast(), outOf = grad.getDInitial();
    for (OpOperand &operand : op->getOpOperands())
      convertOperand(operand, operand.get() == into ? carry(into.getType(), rows) : columns(operand.get().getType()));
    for (OpResult result : op->getResults())
      convertResult(result, result == outOf ? carry(result.getType(), rows) : columns(result.getType()));
  }

  /// Operands have their standard layouts when an operation is reached.
  void operation(Operation *op) {
    if (isAlongTokens(op)) {
      alongTokens(op);
    } else if (auto reduce = dyn_cast<ReduceOp>(op)) {
      if (isa<RankedTensorType>(reduce.getType()))
        convertResult(reduce->getResult(0), with(reduce.getType(), layoutOf(reduce.getValue().getType())->dropAxis(reduce.getAxis()).withoutCopies()));
    } else if (auto broadcast = dyn_cast<BroadcastOp>(op)) {
      Type type = standard(broadcast.getType());
      if (isa<RankedTensorType>(broadcast.getValue().getType()))
        convertOperand(broadcast.getValueMutable(), with(broadcast.getValue().getType(), layoutOf(type)->select(broadcast.getAxes()).withoutCopies()));
      broadcast.getResult().setType(cast<RankedTensorType>(type));
    } else if (auto loop = dyn_cast<scf::ForOp>(op)) {
      for (auto [arg, result] : llvm::zip_equal(loop.getRegionIterArgs(), loop.getResults()))
        arg.setType(standard(arg.getType())), result.setType(standard(result.getType()));
      block(*loop.getBody());
    } else if (auto constant = dyn_cast<arith::ConstantOp>(op)) {
      if (auto dense = dyn_cast<DenseElementsAttr>(constant.getValue())) {
        auto type = cast<RankedTensorType>(standard(constant.getType()));
        constant.setValueAttr(dense.reshape(type));
        constant.getResult().setType(type);
      }
    } else {
      for (OpResult result : op->getResults())
        result.setType(standard(result.getType()));
    }
  }

  const Layouts &layouts;
  OpBuilder builder;
};

/// `16x8 #tile.layout<...>`.
std::optional<LinearLayout> parseAccumulator(StringRef text, MLIRContext *context) {
  auto [rows, rest] = text.split('x');
  auto [columns, attribute] = rest.split(' ');
  int64_t m, n;
  if (rows.getAsInteger(10, m) || columns.getAsInteger(10, n))
    return std::nullopt;
  auto layout = dyn_cast_or_null<LayoutAttr>(parseAttribute(attribute, context));
  if (!layout)
    return std::nullopt;
  return layout.getLayout({m, n});
}

struct AssignLayouts : fla::impl::AssignLayoutsBase<AssignLayouts> {
  using AssignLayoutsBase::AssignLayoutsBase;

  void runOnOperation() override {
    Layouts layouts{lanes, warps, std::nullopt};
    if (!llvm::isPowerOf2_64(lanes) || !llvm::isPowerOf2_64(warps)) {
      getOperation().emitError() << "expected lanes and warps that are powers of two, got " << lanes.getValue() << " and " << warps.getValue();
      return signalPassFailure();
    }
    if (!accumulator.empty() && !(layouts.atom = parseAccumulator(accumulator, &getContext()))) {
      getOperation().emitError() << "expected an accumulator as 16x8 #tile.layout<...>, got '" << accumulator << "'";
      return signalPassFailure();
    }
    for (auto kernel : getOperation().getOps<KernelOp>())
      if (failed(Assigner(layouts, &getContext()).run(kernel)))
        return signalPassFailure();
  }
};
} // namespace
