//===- AssignLayouts.cpp - which thread holds which element ---------------===//
//
//   %p = tile.dot %a, %b : ... -> tensor<64x64xf32>      ==>  tensor<64x64xf32, #accumulator>
//   ..., %s, ... = tile.scan linear %i, %d, %x           ==>  %d1 = tile.convert_layout %d
//                                                             ..., %s1, ... = tile.scan linear %i, %d1, %x1   (columns)
//                                                             %s = tile.convert_layout %s1
//
// For examples see test/Dialect/Tile/Transforms/assign-layouts.mlir.
//===----------------------------------------------------------------------===//
#include "AxisClasses.h"
#include "TokenTiles.h"
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
  std::optional<LinearLayout> atom;        ///< one warp's accumulator, m x n
  std::optional<LinearLayout> left, right; ///< and its operands, m x k and k x n

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

  /// The axis of the accumulator along which a product's result is an operand of the
  /// next product as it is, in the same registers: 0 (rows, of a left operand), 1
  /// (columns, of a right one), or none.
  std::optional<int64_t> chainAxis() const {
    if (!atom || !left || !right)
      return std::nullopt;
    auto stays = [&](const LinearLayout &operand) {
      SmallVector<int64_t> shape{std::max(atom->shape()[0], operand.shape()[0]), std::max(atom->shape()[1], operand.shape()[1])};
      auto kind = planConversion(LinearLayout::tiled(shape, *atom, Bases()), LinearLayout::tiled(shape, operand, Bases())).kind;
      return kind == ConversionKind::identity || kind == ConversionKind::registers;
    };
    return stays(*left) ? std::optional<int64_t>(0) : stays(*right) ? std::optional<int64_t>(1) : std::nullopt;
  }

  /// A tile whose `axis` is apart from all others: as accumulators are held, warps along
  /// that axis alone, which is the accumulator's `chain` axis.
  LinearLayout apart(ArrayRef<int64_t> shape, int64_t axis, int64_t chain) const {
    LinearLayout oriented = axis == chain ? *atom : atom->transpose({1, 0});
    if (shape.size() == 1) {
      SmallVector<int64_t> matrix{shape[0], oriented.shape()[1]};
      return apart(matrix, 0, chain).select({0}).withoutCopies();
    }
    if (shape[0] < oriented.shape()[0] || shape[1] < oriented.shape()[1])
      return standard(shape);
    return LinearLayout::tiled(shape, oriented, warpsAlong(shape.size(), axis, oriented.shape()[axis]));
  }

  /// What a matrix that is held apart is stored from: `run` neighbours of a row in a
  /// thread, the same warps.
  LinearLayout rows(ArrayRef<int64_t> shape, int64_t chain, int64_t run) const {
    int64_t each = atom->shape()[chain];
    Bases bits;
    auto push = [&](int64_t axis, int64_t from, int64_t to) {
      for (int64_t step = from; step < to; step *= 2)
        bits.push_back(axis == 0 ? Coordinates{int32_t(step), 0} : Coordinates{0, int32_t(step)});
    };
    run = std::min(run, each);
    push(1, 1, each);
    push(0, 1, shape[0]);
    push(1, each * warps, shape[1]);
    int64_t inRun = llvm::Log2_64(run), inLanes = llvm::Log2_64(lanes);
    Bases registers(bits.begin(), bits.begin() + inRun), held(bits.begin() + inRun, bits.begin() + std::min<int64_t>(bits.size(), inRun + inLanes));
    registers.append(bits.begin() + std::min<int64_t>(bits.size(), inRun + inLanes), bits.end());
    held.resize(inLanes, Coordinates{0, 0});
    return LinearLayout(shape, registers, held, warpsAlong(2, 1, each));
  }

  /// Neighbouring tokens in a thread, two channels each; none where threads would have few of them.
  std::optional<LinearLayout> tokens(ArrayRef<int64_t> shape) const {
    constexpr int64_t kFewest = 8;
    int64_t each = shape[0] * shape[1] / (lanes * warps);
    if (each < 2 * kFewest || shape[1] < 2 || shape[0] < each / 2)
      return std::nullopt;
    Bases bits;
    auto push = [&](int64_t axis, int64_t from, int64_t to) {
      for (int64_t step = from; step < to; step *= 2)
        bits.push_back(axis == 0 ? Coordinates{int32_t(step), 0} : Coordinates{0, int32_t(step)});
    };
    push(1, 1, 2);
    push(0, 1, each / 2);
    push(1, 2, shape[1]);
    push(0, each / 2, shape[0]);
    auto first = bits.begin(), laneBits = first + llvm::Log2_64(each), warpBits = laneBits + llvm::Log2_64(lanes);
    return LinearLayout(shape, Bases(first, laneBits), Bases(laneBits, warpBits), Bases(warpBits, bits.end()));
  }

  Bases warpsAlong(int64_t rank, int64_t axis, int64_t step) const {
    Bases bits;
    for (int64_t warp = 1; warp < warps; warp *= 2) {
      Coordinates basis(rank, 0);
      basis[axis] = step * warp;
      bits.push_back(basis);
    }
    return bits;
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

/// A kernel that an earlier pass gave layouts.
bool hasLayouts(KernelOp kernel) {
  auto isLaidOut = [](Type type) { return layoutOf(type).has_value(); };
  return kernel.walk([&](Operation *op) { return WalkResult(success(llvm::none_of(op->getResultTypes(), isLaidOut))); }).wasInterrupted();
}

class Assigner {
public:
  Assigner(const Layouts &layouts, KernelOp kernel) : layouts(layouts), axes(kernel), builder(kernel.getContext()) {}

  LogicalResult run(KernelOp kernel) {
    if (hasLayouts(kernel))
      return success();
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
    chooseWarps(kernel);
    byTokens = std::make_unique<TokenTiles>(kernel, [&](Value value) {
      auto tensor = dyn_cast<RankedTensorType>(value.getType());
      return tensor && tensor.getRank() == 2 && layouts.tokens(tensor.getShape()) && !(chain && axes.apartAxis(value));
    });
    block(kernel.getBody().front());
    return success();
  }

private:
  RankedTensorType with(Type type, const LinearLayout &layout) {
    auto tensor = cast<RankedTensorType>(type);
    return RankedTensorType::get(tensor.getShape(), tensor.getElementType(), LayoutAttr::get(type.getContext(), layout));
  }
  /// Warps share out an axis that is apart, if there are enough positions for most of them.
  void chooseWarps(KernelOp kernel) {
    chain = layouts.chainAxis();
    if (!chain || !axes.chooseApart())
      return chain.reset();
    int64_t some = std::min(layouts.warps, axes.size() / layouts.atom->shape()[*chain]);
    if (2 * some < layouts.warps)
      return chain.reset();
    layouts.warps = some;
    kernel->setAttr("warps", builder.getI64IntegerAttr(some));
  }

  /// What a value is held as between operations.
  Type standard(Value value) {
    auto tensor = dyn_cast<RankedTensorType>(value.getType());
    if (!tensor)
      return value.getType();
    if (byTokens->contains(value))
      return with(tensor, *layouts.tokens(tensor.getShape()));
    std::optional<int64_t> axis = chain ? axes.apartAxis(value) : std::nullopt;
    return with(tensor, axis ? layouts.apart(tensor.getShape(), *axis, *chain) : layouts.standard(tensor.getShape()));
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
    // What lies in shared memory is read from there once more.
    if (auto read = value.getDefiningOp<ReadOp>()) {
      OpBuilder::InsertionGuard guard(builder);
      builder.setInsertionPointAfter(read);
      return ReadOp::create(builder, read.getLoc(), type, read.getShared(), read.getStage());
    }
    return ConvertLayoutOp::create(builder, value.getLoc(), type, value);
  }
  void convertOperand(OpOperand &operand, Type type) {
    builder.setInsertionPoint(operand.getOwner());
    operand.set(convert(operand.get(), type));
  }
  /// The result gets `type` and, for all its users, the standard layout.
  void convertResult(OpResult result, Type type) {
    Type wanted = standard(result);
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
        convertResult(reduce->getResult(0),
                      with(reduce.getType(), layoutOf(reduce.getValue().getType())->dropAxis(reduce.getAxis()).withoutCopies()));
    } else if (auto broadcast = dyn_cast<BroadcastOp>(op)) {
      Type type = standard(broadcast.getResult());
      if (isa<RankedTensorType>(broadcast.getValue().getType()))
        convertOperand(broadcast.getValueMutable(),
                       with(broadcast.getValue().getType(), layoutOf(type)->select(broadcast.getAxes()).withoutCopies()));
      broadcast.getResult().setType(cast<RankedTensorType>(type));
    } else if (auto loop = dyn_cast<scf::ForOp>(op)) {
      for (auto [arg, result] : llvm::zip_equal(loop.getRegionIterArgs(), loop.getResults()))
        arg.setType(standard(arg)), result.setType(standard(result));
      for (auto [init, arg] : llvm::zip_equal(loop.getInitArgsMutable(), loop.getRegionIterArgs()))
        convertOperand(init, arg.getType());
      block(*loop.getBody());
      for (auto [yielded, arg] : llvm::zip_equal(loop.getBody()->getTerminator()->getOpOperands(), loop.getRegionIterArgs()))
        convertOperand(yielded, arg.getType());
    } else if (auto constant = dyn_cast<arith::ConstantOp>(op)) {
      if (auto dense = dyn_cast<DenseElementsAttr>(constant.getValue())) {
        auto type = cast<RankedTensorType>(standard(constant.getResult()));
        constant.setValueAttr(dense.reshape(type));
        constant.getResult().setType(type);
      }
    } else {
      for (OpResult result : op->getResults())
        result.setType(standard(result));
      alignOperands(op);
      if (auto store = dyn_cast<StoreOp>(op))
        storeRows(store);
    }
  }

  /// Elementwise work and sums along the tokens have one layout, and so have a product and its init.
  void alignOperands(Operation *op) {
    if (auto dot = dyn_cast<DotOp>(op); dot && dot.getInit())
      convertOperand(dot.getInitMutable()[0], dot.getType());
    StringRef dialect = op->getName().getDialectNamespace();
    if (op->getNumResults() != 1 || !(dialect == "arith" || dialect == "math" || isa<CumSumOp, LevelDecayOp, LevelDecayGradOp>(op)))
      return;
    if (auto type = dyn_cast<RankedTensorType>(op->getResult(0).getType()))
      for (OpOperand &operand : op->getOpOperands())
        if (isa<RankedTensorType>(operand.get().getType()))
          convertOperand(operand, with(operand.get().getType(), *layoutOf(type)));
  }

  /// Whole rows of the memory: accumulators whose rows are columns of the memory turn first.
  void storeRows(StoreOp store) {
    auto type = dyn_cast<RankedTensorType>(store.getValue().getType());
    std::optional<int64_t> axis = chain ? axes.apartAxis(store.getValue()) : std::nullopt;
    if (!axis || type.getRank() != 2 || *axis != 1 || type.getShape()[1] < layouts.atom->shape()[*chain] * layouts.warps)
      return;
    Type element = store.getBuffer().getType().getElementType();
    int64_t run = 16 / std::max<int64_t>(1, element.getIntOrFloatBitWidth() / 8);
    if (layoutOf(type)->contiguous(1) >= run)
      return;
    builder.setInsertionPoint(store);
    Value value = store.getValue();
    if (element.getIntOrFloatBitWidth() < type.getElementTypeBitWidth())
      value = arith::TruncFOp::create(builder, store.getLoc(), type.clone(element), value);
    store.getValueMutable().assign(convert(value, with(value.getType(), layouts.rows(type.getShape(), *chain, run))));
  }

  Layouts layouts;
  AxisClasses axes;
  std::unique_ptr<TokenTiles> byTokens;
  std::optional<int64_t> chain; ///< the accumulator's axis that the axis apart lies along, if there is one
  OpBuilder builder;
};

/// `16x8 #tile.layout<...>`.
std::optional<LinearLayout> parseAtom(StringRef text, MLIRContext *context) {
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
    Layouts layouts{lanes, warps, std::nullopt, std::nullopt, std::nullopt};
    if (!llvm::isPowerOf2_64(lanes) || !llvm::isPowerOf2_64(warps)) {
      getOperation().emitError() << "expected lanes and warps that are powers of two, got " << lanes.getValue() << " and " << warps.getValue();
      return signalPassFailure();
    }
    for (auto [text, into, name] : {std::tuple(&accumulator, &layouts.atom, "accumulator"), std::tuple(&left, &layouts.left, "left operand"),
                                    std::tuple(&right, &layouts.right, "right operand")})
      if (!text->empty() && !(*into = parseAtom(*text, &getContext()))) {
        getOperation().emitError() << "expected the " << name << " as 16x8 #tile.layout<...>, got '" << *text << "'";
        return signalPassFailure();
      }
    for (auto kernel : getOperation().getOps<KernelOp>())
      if (failed(Assigner(layouts, kernel).run(kernel)))
        return signalPassFailure();
  }
};
} // namespace
