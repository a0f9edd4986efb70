//===- Lowering.cpp - one kernel: structure and scalars -------------------===//
#include "Lowering.h"

#include "llvm/ADT/TypeSwitch.h"

namespace fla::cpu {

LLVM::LLVMFuncOp Functions::get(Location loc, StringRef name, unsigned pointers,
                                llvm::function_ref<void(OpBuilder &, ValueRange)> emit) {
  auto &function = functions[name];
  if (function)
    return function;
  OpBuilder b = OpBuilder::atBlockEnd(module.getBody());
  auto ptr = LLVM::LLVMPointerType::get(b.getContext());
  auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(b.getContext()), SmallVector<Type>(pointers, ptr));
  function = LLVM::LLVMFuncOp::create(b, loc, name, type, LLVM::Linkage::Internal);
  function.setNoInlineAttr(b.getUnitAttr());
  for (unsigned i = 0; i < pointers; ++i)
    function.setArgAttr(i, LLVM::LLVMDialect::getNoAliasAttrName(), b.getUnitAttr());
  Block *entry = function.addEntryBlock(b);
  OpBuilder inside = OpBuilder::atBlockEnd(entry);
  emit(inside, entry->getArguments());
  LLVM::ReturnOp::create(inside, loc, ValueRange());
  return function;
}

Value Functions::constant(Emitter &e, DenseElementsAttr values) {
  OpBuilder b = OpBuilder::atBlockBegin(module.getBody());
  auto shaped = cast<ShapedType>(values.getType());
  if (shaped.getElementType().isInteger(1)) {
    SmallVector<int8_t> bytes;
    for (bool bit : values.getValues<bool>())
      bytes.push_back(bit);
    values = DenseElementsAttr::get(RankedTensorType::get(shaped.getNumElements(), b.getI8Type()), ArrayRef(bytes));
  } else {
    values = values.reshape(RankedTensorType::get(shaped.getNumElements(), shaped.getElementType()));
  }
  Type element = values.getElementType();
  auto type = LLVM::LLVMArrayType::get(element, values.getNumElements());
  std::string name = "constant_" + std::to_string(constants++);
  auto global = LLVM::GlobalOp::create(b, e.loc, type, /*isConstant=*/true, LLVM::Linkage::Internal, name, values, /*alignment=*/64);
  return LLVM::AddressOfOp::create(e.b, e.loc, global);
}

Lowering::Lowering(tile::KernelOp kernel, LLVM::LLVMFuncOp function, Functions &functions, OpBuilder &builder, int64_t vectorBytes)
    : kernel(kernel), function(function), functions(functions), e(builder, kernel.getLoc(), vectorBytes), plan(kernel) {}

LogicalResult Lowering::run() {
  Block *entry = function.addEntryBlock(e.b);
  e.b.setInsertionPointToEnd(entry);
  buffers = entry->getArgument(0);
  point = entry->getArgument(1);
  workspace = entry->getArgument(2);
  if (failed(block(kernel.getBody().front())))
    return failure();
  e.loc = kernel.getLoc();
  LLVM::ReturnOp::create(e.b, e.loc, ValueRange());
  return success();
}

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

Tile Lowering::memory(Value value) {
  auto type = cast<RankedTensorType>(value.getType());
  Value owner = Plan::resolve(value);
  Value base = pointers.lookup(owner);
  if (!base)
    base = e.at(workspace, plan.offset(owner), e.b.getI8Type());
  return {base, SmallVector<int64_t>(type.getShape()), type.getElementType()};
}

Value Lowering::scalar(Value value) {
  Value lowered = scalars.lookup(value);
  assert(lowered && "a scalar is lowered before its uses");
  return lowered;
}

/// Memory behind all tiles, for the time of one operation.
Value Lowering::scratch(int64_t bytes) {
  scratchBytes = std::max<int64_t>(scratchBytes, llvm::alignTo(bytes, 64));
  return e.at(workspace, plan.bytes(), e.b.getI8Type());
}

/// The i64 field number `index` of a GridPoint (or of a Buffer).
Value Lowering::field(Value base, int64_t index) { return e.load(e.at(base, index, e.i64()), e.i64(), 1); }

//===----------------------------------------------------------------------===//
// Structure
//===----------------------------------------------------------------------===//

LogicalResult Lowering::block(Block &block) {
  for (Operation &op : block.without_terminator())
    if (failed(operation(&op)))
      return failure();
  return success();
}

LogicalResult Lowering::operation(Operation *op) {
  e.loc = op->getLoc();
  if (auto constant = dyn_cast<arith::ConstantOp>(op))
    if (auto dense = dyn_cast<DenseElementsAttr>(constant.getValue()); dense && !dense.isSplat()) {
      OpBuilder::InsertionGuard guard(e.b);
      e.b.setInsertionPointToStart(&function.getBody().front());
      pointers[constant] = functions.constant(e, dense);
      return success();
    }
  if (isPointwise(op)) {
    Value result = op->getResult(0);
    if (auto valid = dyn_cast<tile::ValidOp>(op))
      define(valid, rowLimit(valid.getChunk()));
    if (plan.isStored(result))
      materialise(result, memory(result));
    return success();
  }
  auto done = [](auto) { return success(); };
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case([&](scf::ForOp x) { return forLoop(x); })
      .Case([&](tile::LoadOp x) { return load(x), done(x); })
      .Case([&](tile::StoreOp x) { return store(x), done(x); })
      .Case([&](tile::ReduceOp x) { return reduce(x), done(x); })
      .Case([&](tile::TransposeOp x) { return emitTranspose(e, memory(x.getValue()), memory(x)), done(x); })
      .Case([&](tile::DotOp x) { return dot(x), done(x); })
      .Case([&](tile::InverseOp x) { return inverse(x), done(x); })
      .Case([&](tile::CumSumOp x) { return cumsum(x), done(x); })
      .Case([&](tile::SegSumOp x) { return segsum(x), done(x); })
      .Case([&](tile::SegSumGradOp x) { return segsumGrad(x), done(x); })
      .Case([&](tile::LevelDecayOp x) { return levelDecay(x), done(x); })
      .Case([&](tile::LevelDecayGradOp x) { return levelDecayGrad(x), done(x); })
      .Case([&](tile::ScanOp x) { return scan(x), done(x); })
      .Case([&](tile::ScanGradOp x) { return scanGrad(x), done(x); })
      .Case([&](tensor::ExtractSliceOp x) { return extractSlice(x); })
      .Case([&](tensor::InsertSliceOp x) { return insertSlice(x); })
      .Case([&](tensor::ConcatOp x) { return concat(x), done(x); })
      .Case<tensor::CollapseShapeOp, tensor::ExpandShapeOp, tensor::EmptyOp>(done)
      .Default([&](Operation *x) { return scalarOp(x); });
}

LogicalResult Lowering::scalarOp(Operation *op) {
  if (auto chunks = dyn_cast<tile::NumChunksOp>(op)) {
    Value rounded = e.add(field(point, 3), kernel.getChunk() - 1);
    define(chunks, arith::DivSIOp::create(e.b, e.loc, rounded, e.index(kernel.getChunk())));
    return success();
  }
  if (auto id = dyn_cast<tile::ChunkIdOp>(op)) {
    define(id, field(point, 7));
    return success();
  }
  if (auto extract = dyn_cast<tensor::ExtractOp>(op)) {
    Tile from = memory(extract.getTensor());
    SmallVector<Value> indices = llvm::map_to_vector(extract.getIndices(), [&](Value i) { return scalar(i); });
    define(extract, e.load(e.at(from.base, e.offset(from.shape, indices), from.element), from.element, 1));
    return success();
  }
  if (auto elements = dyn_cast<tensor::FromElementsOp>(op)) {
    Tile to = memory(elements);
    for (auto [i, value] : llvm::enumerate(elements.getElements()))
      e.store(scalar(value), e.at(to.base, i, to.element));
    return success();
  }
  if (auto constant = dyn_cast<arith::ConstantOp>(op)) {
    TypedAttr value = constant.getValue();
    if (auto integer = dyn_cast<IntegerAttr>(value); integer && value.getType().isIndex())
      value = e.b.getI64IntegerAttr(integer.getInt());
    define(constant, arith::ConstantOp::create(e.b, e.loc, value));
    return success();
  }
  StringRef dialect = op->getName().getDialectNamespace();
  bool known = (dialect == "arith" || dialect == "math") && op->getNumResults() == 1 &&
               llvm::none_of(op->getOperandTypes(), llvm::IsaPred<ShapedType>);
  if (!known)
    return op->emitOpError("is not supported inside a kernel of the CPU target");
  SmallVector<Value> operands = llvm::map_to_vector(op->getOperands(), [&](Value v) { return scalar(v); });
  define(op->getResult(0), emitElementwise(e, op, operands, 1));
  return success();
}

bool Lowering::isElsewhere(Value value, Value home) {
  return pointers.contains(Plan::resolve(value)) || (plan.isStored(value) && !plan.samePlace(value, home));
}

/// Puts `value` where `home` lives: computed there, copied, or there already.
void Lowering::moveTo(Value value, Value home) {
  Tile to = memory(home);
  if (computesHere(value))
    materialise(value, to);
  else if (isElsewhere(value, home))
    e.copy(to.base, memory(value).base, to.size(), to.element);
}

LogicalResult Lowering::forLoop(scf::ForOp op) {
  SmallVector<Value> init;
  for (auto [value, arg] : llvm::zip_equal(op.getInitArgs(), op.getRegionIterArgs())) {
    if (!isa<RankedTensorType>(value.getType()))
      init.push_back(scalar(value));
    else
      moveTo(value, arg);
  }
  LogicalResult result = success();
  Value step = scalar(op.getStep());
  auto loop = scf::ForOp::create(e.b, e.loc, scalar(op.getLowerBound()), scalar(op.getUpperBound()), step, init);
  define(op.getInductionVar(), loop.getInductionVar());
  unsigned next = 0;
  for (auto [arg, value] : llvm::zip_equal(op.getRegionIterArgs(), op.getResults()))
    if (!isa<RankedTensorType>(arg.getType())) {
      define(arg, loop.getRegionIterArg(next));
      define(value, loop.getResult(next++));
    }
  {
    OpBuilder::InsertionGuard guard(e.b);
    planFetches(op);
    // A loop without carries already has its terminator.
    if (!loop.getBody()->empty())
      loop.getBody()->back().erase();
    e.b.setInsertionPointToEnd(loop.getBody());
    result = block(*op.getBody());
    e.loc = op.getLoc();
    yield(op);
  }
  return result;
}

/// Moves the next carries to their places; those in another carry's place first.
void Lowering::yield(scf::ForOp op) {
  SmallVector<Value> next;
  auto operands = op.getBody()->getTerminator()->getOpOperands();
  for (OpOperand &operand : operands)
    if (int64_t at = plan.temporary(operand); at >= 0) {
      Tile from = memory(operand.get());
      e.copy(e.at(workspace, at, e.b.getI8Type()), from.base, from.size(), from.element);
    }
  for (OpOperand &operand : operands) {
    Value value = operand.get(), arg = op.getRegionIterArgs()[operand.getOperandNumber()];
    if (!isa<RankedTensorType>(value.getType())) {
      next.push_back(scalars.lookup(value));
      continue;
    }
    Tile to = memory(arg);
    if (int64_t at = plan.temporary(operand); at >= 0)
      e.copy(to.base, e.at(workspace, at, e.b.getI8Type()), to.size(), to.element);
    else if (isElsewhere(value, arg))
      e.copy(to.base, memory(value).base, to.size(), to.element);
  }
  if (llvm::all_of(next, [](Value v) { return bool(v); }))
    scf::YieldOp::create(e.b, e.loc, next);
}

} // namespace fla::cpu
