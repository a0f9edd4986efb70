//===- Lowering.cpp - structure, scalars and elementwise work -------------===//
#include "Lowering.h"

#include "llvm/ADT/TypeSwitch.h"

namespace fla::gpu {

Lowering::Lowering(tile::KernelOp kernel, LLVM::LLVMFuncOp function, const Target &target, int64_t warps, Operands operands, OpBuilder &builder)
    : kernel(kernel), function(function), target(target), warps(warps), operands(operands), e(builder, kernel.getLoc(), 4), shared(e, target) {}

Value Lowering::i32(int64_t value) { return arith::ConstantOp::create(e.b, e.loc, e.b.getI32IntegerAttr(value)); }

ArrayRef<Value> Lowering::registers(Value value) {
  auto it = values.find(value);
  assert(it != values.end() && "a value is lowered before its uses");
  return it->second;
}
Value Lowering::scalar(Value value) { return registers(value).front(); }

LogicalResult Lowering::run(bool reuseOperands, bool keepApart) {
  reuse = reuseOperands;
  apart = keepApart;
  Block *entry = function.addEntryBlock(e.b);
  e.b.setInsertionPointToEnd(entry);
  auto memory = LLVM::LLVMPointerType::get(e.b.getContext(), 3);
  shared.setBase(LLVM::AddressOfOp::create(e.b, e.loc, memory, "fla_shared"));
  thread = target.threadIndex(e);
  lane = arith::AndIOp::create(e.b, e.loc, thread, i32(target.chip.lanes - 1));
  warp = arith::ShRUIOp::create(e.b, e.loc, thread, i32(llvm::Log2_64(target.chip.lanes)));
  gridPoint();
  LogicalResult result = success();
  if (kernel.getOverChunks()) {
    // Spare slots have nothing to do.
    Value rows = e.mul(chunkOfGrid, kernel.getChunk()); // of the chunks before
    Value busy = e.cmp(arith::CmpIPredicate::slt, rows, numRows);
    auto guarded = scf::IfOp::create(e.b, e.loc, busy, /*withElseRegion=*/false);
    OpBuilder::InsertionGuard guard(e.b);
    e.b.setInsertionPointToStart(guarded.thenBlock());
    result = block(kernel.getBody().front());
  } else {
    result = block(kernel.getBody().front());
  }
  e.loc = kernel.getLoc();
  LLVM::ReturnOp::create(e.b, e.loc, ValueRange());
  return result;
}

//===----------------------------------------------------------------------===//
// Threads
//===----------------------------------------------------------------------===//

/// The sum over F2 of the coordinates of the bits that are set in `number`.
Value Lowering::bits(Value number, ArrayRef<int32_t> coordinates) {
  Value sum;
  for (auto [bit, coordinate] : llvm::enumerate(coordinates)) {
    if (!coordinate)
      continue;
    Value one = arith::AndIOp::create(e.b, e.loc, arith::ShRUIOp::create(e.b, e.loc, number, i32(bit)), i32(1));
    Value term = arith::MulIOp::create(e.b, e.loc, one, i32(coordinate));
    sum = sum ? arith::XOrIOp::create(e.b, e.loc, sum, term).getResult() : term;
  }
  return sum ? sum : i32(0);
}

static SmallVector<int32_t> along(const tile::Bases &bases, int64_t axis) {
  return llvm::map_to_vector(bases, [&](const Coordinates &basis) { return basis[axis]; });
}

Value Lowering::warpPart(const LinearLayout &layout, int64_t axis) { return bits(warp, along(layout.warpBases(), axis)); }

/// What lane and warp add to each coordinate; computed once, where the kernel begins.
ArrayRef<Value> Lowering::threadPart(const LinearLayout &layout) {
  Attribute key = tile::LayoutAttr::get(e.b.getContext(), LinearLayout(layout.shape(), {}, layout.laneBases(), layout.warpBases()));
  auto [it, isNew] = threadParts.try_emplace(key);
  if (isNew) {
    OpBuilder::InsertionGuard guard(e.b);
    e.b.setInsertionPointAfter(warp.getDefiningOp());
    SmallVector<Value> parts;
    for (int64_t axis = 0; axis < layout.rank(); ++axis)
      parts.push_back(arith::XOrIOp::create(e.b, e.loc, bits(lane, along(layout.laneBases(), axis)), warpPart(layout, axis)));
    threadParts[key] = parts;
  }
  return threadParts[key];
}

bool Lowering::isDisjoint(const LinearLayout &layout, int64_t axis) {
  int32_t threads = 0, registers = 0;
  for (const tile::Bases *bases : {&layout.laneBases(), &layout.warpBases()})
    for (int32_t coordinate : along(*bases, axis))
      threads |= coordinate;
  for (int32_t coordinate : along(layout.registerBases(), axis))
    registers |= coordinate;
  return (threads & registers) == 0;
}

void Lowering::once(const LinearLayout &layout, llvm::function_ref<void()> f) {
  LinearLayout::Place copies = layout.copies();
  int64_t mask = copies.warp * target.chip.lanes + copies.lane;
  if (!mask)
    return f();
  e.when(e.cmp(arith::CmpIPredicate::eq, arith::AndIOp::create(e.b, e.loc, thread, i32(mask)), i32(0)), f);
}

Value Lowering::coordinate(const LinearLayout &layout, int64_t reg, int64_t axis) {
  Value part = threadPart(layout)[axis];
  int32_t constant = layout.apply(reg, 0, 0)[axis];
  if (!constant)
    return part;
  if (isDisjoint(layout, axis))
    return arith::AddIOp::create(e.b, e.loc, part, i32(constant));
  return arith::XOrIOp::create(e.b, e.loc, part, i32(constant));
}

//===----------------------------------------------------------------------===//
// Structure
//===----------------------------------------------------------------------===//

/// What is made of an operation tells its name, besides where it comes from.
static Location namedLocation(Operation *op) { return NameLoc::get(op->getName().getIdentifier(), op->getLoc()); }

LogicalResult Lowering::block(Block &block) {
  SmallVector<tile::CopyOp> copies; // those that follow each other
  for (Operation &op : block.without_terminator()) {
    e.loc = namedLocation(&op);
    if (auto copy = dyn_cast<tile::CopyOp>(op)) {
      copies.push_back(copy);
      if (!isa<tile::CopyOp>(op.getNextNode()))
        copyAll(std::exchange(copies, {}));
    } else if (failed(operation(&op))) {
      return failure();
    }
  }
  return success();
}

LogicalResult Lowering::operation(Operation *op) {
  e.loc = namedLocation(op);
  auto done = [](auto) { return success(); };
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case([&](scf::ForOp x) { return forLoop(x); })
      .Case([&](arith::ConstantOp x) { return constant(x); })
      .Case([&](tile::NumChunksOp x) {
        Value rounded = e.add(numRows, kernel.getChunk() - 1);
        define(x, {arith::DivSIOp::create(e.b, e.loc, rounded, e.index(kernel.getChunk()))});
        return success();
      })
      .Case([&](tile::ChunkIdOp x) { return define(x, {chunkOfGrid}), success(); })
      .Case([&](tile::FirstBlockOp x) {
        define(x, {e.cmp(arith::CmpIPredicate::eq, blockOfColumns, e.index(0))});
        return success();
      })
      .Case([&](tile::ValidOp x) { return valid(x), success(); })
      .Case([&](tile::InsideOp x) { return inside(x), success(); })
      .Case([&](tile::ReshapeOp x) { return reshapeBox(x), success(); })
      .Case([&](tile::LoadOp x) { return load(x), success(); })
      .Case([&](tile::StoreOp x) { return store(x), success(); })
      .Case([&](tile::AllocOp x) { return alloc(x), success(); })
      .Case([&](tile::WaitOp x) { return wait(), success(); })
      .Case([&](tile::ReadOp x) { return read(x), success(); })
      .Case([&](tile::ConvertLayoutOp x) {
        define(x, convert(registers(x.getValue()), elementOf(x), layout(x.getValue()), layout(x)));
        return success();
      })
      .Case([&](tile::BroadcastOp x) { return broadcast(x), success(); })
      .Case([&](tile::ReduceOp x) { return reduce(x), success(); })
      .Case([&](tile::TransposeOp x) { return transpose(x), success(); })
      .Case([&](tile::DotOp x) { return dot(x), success(); })
      .Case([&](tile::InverseOp x) { return inverse(x), success(); })
      .Case([&](tile::CumSumOp x) { return cumsum(x), success(); })
      .Case([&](tile::SegSumOp x) { return segsum(x), success(); })
      .Case([&](tile::SegSumGradOp x) { return segsumGrad(x), success(); })
      .Case([&](tile::LevelDecayOp x) { return levelDecay(x), success(); })
      .Case([&](tile::LevelDecayGradOp x) { return levelDecayGrad(x), success(); })
      .Case([&](tile::ScanOp x) { return scan(x), success(); })
      .Case([&](tile::ScanGradOp x) { return scanGrad(x), success(); })
      .Case([&](tensor::ExtractSliceOp x) { return extractSlice(x); })
      .Case([&](tensor::InsertSliceOp x) { return insertSlice(x); })
      .Case([&](tensor::ConcatOp x) { return concat(x), success(); })
      .Case([&](tensor::CollapseShapeOp x) { return reshape(x.getSrc(), x), success(); })
      .Case([&](tensor::ExpandShapeOp x) { return reshape(x.getSrc(), x), success(); })
      .Case([&](tensor::ExtractOp x) { return extract(x), success(); })
      .Case([&](tensor::FromElementsOp x) { return fromElements(x), success(); })
      .Case([&](tensor::SplatOp x) {
        define(x, Registers(layout(x).numRegisters(), scalar(x.getInput())));
        return success();
      })
      .Case<tensor::EmptyOp>([&](tensor::EmptyOp x) {
        define(x, Registers(layout(x).numRegisters(), e.real(elementOf(x), 0.0)));
        return success();
      })
      .Case<tile::ReturnOp>(done)
      .Default([&](Operation *x) { return elementwise(x); });
}

LogicalResult Lowering::constant(arith::ConstantOp op) {
  TypedAttr value = op.getValue();
  if (auto integer = dyn_cast<IntegerAttr>(value); integer && value.getType().isIndex())
    value = e.b.getI64IntegerAttr(integer.getInt());
  auto dense = dyn_cast<DenseElementsAttr>(value);
  if (!dense) {
    define(op, {arith::ConstantOp::create(e.b, e.loc, value)});
    return success();
  }
  Type element = dense.getElementType();
  if (dense.isSplat()) {
    auto one = arith::ConstantOp::create(e.b, e.loc, cast<TypedAttr>(dense.getSplatValue<Attribute>()));
    define(op, Registers(layout(op).numRegisters(), one));
    return success();
  }
  if (!isa<FloatType>(element))
    return op.emitOpError("expected numbers in a table that is not uniform in a kernel for a GPU");
  // A table in global memory, read by coordinate.
  OpBuilder outside = OpBuilder::atBlockBegin(function->getParentOfType<ModuleOp>().getBody());
  std::string name = (function.getName() + "_table_" + Twine(values.size())).str();
  auto flat = dense.reshape(RankedTensorType::get(dense.getNumElements(), element));
  auto global = LLVM::GlobalOp::create(outside, e.loc, LLVM::LLVMArrayType::get(element, dense.getNumElements()), /*isConstant=*/true,
                                       LLVM::Linkage::Internal, name, flat, /*alignment=*/16, /*addrSpace=*/1);
  Value base = LLVM::AddressOfOp::create(e.b, e.loc, LLVM::LLVMPointerType::get(e.b.getContext(), 1), global.getSymName());
  LinearLayout held = layout(op);
  Registers list;
  for (int64_t r = 0; r < held.numRegisters(); ++r) {
    Value index = i32(0);
    for (int64_t axis = 0; axis < held.rank(); ++axis)
      index = arith::AddIOp::create(e.b, e.loc, arith::MulIOp::create(e.b, e.loc, index, i32(held.shape()[axis])), coordinate(held, r, axis));
    list.push_back(e.load(e.at(base, index, element), element, 1));
  }
  define(op, list);
  return success();
}

/// e^x of f32 as the hardware has it.
Value Lowering::exponential(Value x) {
  constexpr double kLog2E = 1.4426950408889634;
  return LLVM::Exp2Op::create(e.b, e.loc, x.getType(), e.mulf(x, e.real(x.getType(), kLog2E)));
}

/// One element of an elementwise operation. Exponentials are the hardware's.
Value Lowering::compute(Operation *op, ValueRange x, Type) {
  if (isa<math::ExpOp>(op) && x[0].getType().isF32())
    return exponential(x[0]);
  if (isa<math::Exp2Op>(op) && x[0].getType().isF32())
    return LLVM::Exp2Op::create(e.b, e.loc, x[0].getType(), x[0]);
  return emitElementwise(e, op, x, 1);
}

LogicalResult Lowering::elementwise(Operation *op) {
  StringRef dialect = op->getName().getDialectNamespace();
  if ((dialect != "arith" && dialect != "math") || op->getNumResults() != 1)
    return op->emitOpError("is not supported inside a kernel of a GPU target");
  Value result = op->getResult(0);
  auto tensor = dyn_cast<RankedTensorType>(result.getType());
  int64_t count = tensor ? layout(result).numRegisters() : 1;
  if (elementOf(result).isF64())
    return op->emitOpError("expected f32 as compute type in a kernel of a GPU target, got f64");
  Registers list;
  for (int64_t r = 0; r < count; ++r) {
    SmallVector<Value> operands;
    for (Value operand : op->getOperands())
      operands.push_back(isa<RankedTensorType>(operand.getType()) ? registers(operand)[r] : scalar(operand));
    list.push_back(compute(op, operands, elementOf(result)));
  }
  define(result, list);
  return success();
}

LogicalResult Lowering::forLoop(scf::ForOp op) {
  SmallVector<Value> init;
  for (Value value : op.getInitArgs())
    llvm::append_range(init, registers(value));
  auto loop = scf::ForOp::create(e.b, e.loc, scalar(op.getLowerBound()), scalar(op.getUpperBound()), scalar(op.getStep()), init);
  define(op.getInductionVar(), {loop.getInductionVar()});
  size_t next = 0;
  for (auto [arg, from, result] : llvm::zip_equal(op.getRegionIterArgs(), op.getInitArgs(), op.getResults())) {
    size_t count = registers(from).size();
    define(arg, Registers(loop.getRegionIterArgs().slice(next, count)));
    define(result, Registers(loop.getResults().slice(next, count)));
    next += count;
  }
  OpBuilder::InsertionGuard guard(e.b);
  if (!loop.getBody()->empty())
    loop.getBody()->back().erase();
  e.b.setInsertionPointToEnd(loop.getBody());
  shared.enterLoop();
  auto outer = staged;
  LogicalResult result = block(*op.getBody());
  staged = outer;
  shared.leaveLoop();
  SmallVector<Value> carried;
  for (Value value : op.getYieldedValues())
    llvm::append_range(carried, registers(value));
  scf::YieldOp::create(e.b, op.getLoc(), carried);
  return result;
}

} // namespace fla::gpu
