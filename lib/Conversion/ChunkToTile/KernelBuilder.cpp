//===- KernelBuilder.cpp - one kernel from one chunk program --------------===//
#include "KernelBuilder.h"

using namespace mlir;
using namespace fla;
using tile::BufferKind;

/// A buffer for values of a named type; a token buffer has no tokens in its shape.
Value KernelBuilder::addBuffer(const Twine &name, BufferKind kind, Type type, Type element, StringRef role, bool output) {
  ArrayRef<StringAttr> dims = getDims(type);
  if (kind == BufferKind::token)
    dims = dims.drop_front();
  names.push_back(builder.getStringAttr(name));
  roles.push_back(builder.getStringAttr(role));
  outputs.push_back(output);
  // What every block holds alike, a forward program's states, all of them store (on a GPU the first one).
  bool isShare = output && role != "final_state" && role != "saved" && lacksColumns(type);
  partial.push_back(isShare);
  SmallVector<int64_t> shape = llvm::map_to_vector(dims, [&](StringAttr dim) { return sizes.fullSize(dim); });
  if (isShare)
    shape.insert(shape.begin(), links.shares[name.str()] = sizes.blocks);
  else if (auto it = links.shares.find(name.str()); !output && it != links.shares.end())
    shape.insert(shape.begin(), it->second);
  auto buffer = tile::BufferType::get(builder.getContext(), kind, shape, element);
  return kernel.getBody().front().addArgument(buffer, program.getLoc());
}

static bool isGradientName(StringRef name) { return name.starts_with("d_"); }

void KernelBuilder::addInputs() {
  bool reverse = program.getReverse();
  for (BlockArgument arg : program.getTokens()) {
    StringRef name = program.getArgName(arg.getArgNumber());
    bool isGradient = reverse && isGradientName(name) && program.getArgAttr(arg.getArgNumber()).empty();
    Type element = links.temps.contains(name) ? sizes.computeType : isGradient ? links.outputType : storage.of(name);
    tokens.push_back(addBuffer(name, BufferKind::token, arg.getType(), element, isGradient ? "d_output" : "input", false));
  }
  for (BlockArgument arg : program.getParams()) {
    StringRef name = program.getArgName(arg.getArgNumber());
    bool isValue = kindOf(arg) == BufferKind::value;
    params.push_back(addBuffer(name, kindOf(arg), arg.getType(), isValue ? builder.getF64Type() : storage.of(name), "input", false));
  }
  for (BlockArgument arg : program.getCarries()) {
    StringRef name = program.getArgName(arg.getArgNumber());
    carries.push_back(addBuffer(reverse ? "d_final_" + name.drop_front(2) : "initial_" + name, BufferKind::state, arg.getType(), sizes.computeType,
                                reverse ? "d_final_state" : "initial_state", false));
  }
  for (BlockArgument arg : program.getSaved())
    saved.push_back(
        addBuffer("saved_" + program.getArgName(arg.getArgNumber()), BufferKind::saved, arg.getType(), sizes.computeType, "saved", false));
}

/// Gradients are rounded once: pieces and shares are added before.
Type KernelBuilder::outputElement(StringRef name, Type type) {
  if (links.temps.contains(name))
    return sizes.computeType;
  if (!program.getReverse())
    return links.outputType;
  bool isWhole = links.narrow && !links.pieces.contains(gradientOf(name)) && !links.read.contains(name) && !lacksColumns(type);
  return isWhole ? storage.of(gradientOf(name).drop_front(2)) : sizes.computeType;
}

/// A replay stores the states, and of the rest only what other programs read.
bool KernelBuilder::isStored(unsigned result) const {
  return purpose != Purpose::Replay || links.read.contains(const_cast<KernelBuilder *>(this)->program.getResultName(result));
}

void KernelBuilder::addOutputs() {
  chunk::YieldOp yield = program.getYield();
  bool reverse = program.getReverse();
  unsigned next = 0;
  for (Value value : yield.getTokens()) {
    StringRef name = program.getResultName(next);
    Value buffer;
    if (isStored(next++))
      buffer = addBuffer(name, BufferKind::token, value.getType(), outputElement(name, value.getType()), reverse ? "d_input" : "output", true);
    outTokens.push_back(buffer);
  }
  for (Value value : yield.getCarries()) {
    StringRef name = program.getResultName(next++);
    if (purpose != Purpose::Replay)
      outCarries.push_back(addBuffer(reverse ? "d_initial_" + name.drop_front(2) : "final_" + name, BufferKind::state, value.getType(),
                                     sizes.computeType, reverse ? "d_initial_state" : "final_state", true));
  }
  for (Value value : yield.getSaved()) {
    StringRef name = program.getResultName(next++);
    if (purpose != Purpose::Run)
      outSaved.push_back(addBuffer("saved_" + name, BufferKind::saved, value.getType(), sizes.computeType, "saved", true));
  }
  for (Value value : yield.getSums())
    outSums.push_back(addBuffer(program.getResultName(next++), BufferKind::state, value.getType(), sizes.computeType, "d_input", true));
}

/// Between programs a flattened row is stored and loaded with its axes apart: it lies
/// in memory alike, and no thread needs another's elements.
bool KernelBuilder::comesApart(Value buffer, Type flat, ArrayRef<int64_t> apart) {
  auto type = cast<tile::BufferType>(buffer.getType());
  unsigned argument = cast<BlockArgument>(buffer).getArgNumber();
  if (!links.temps.contains(cast<StringAttr>(names[argument]).getValue()) || partial[argument] ||
      sizes.shape(getDims(flat).drop_front()) != type.getShape())
    return false;
  buffer.setType(tile::BufferType::get(builder.getContext(), type.getKind(), apart, type.getElementType()));
  return true;
}

/// The rows of a chunk; shares of a gradient are added here, once.
Value KernelBuilder::loadToken(BlockArgument arg, Value buffer, Value chunk) {
  auto it = links.shares.find(program.getArgName(arg.getArgNumber()));
  auto unflatten = arg.hasOneUse() ? dyn_cast<UnflattenOp>(*arg.user_begin()) : UnflattenOp();
  if (unflatten && it == links.shares.end() && comesApart(buffer, arg.getType(), sizes.shape(getDims(unflatten).drop_front())))
    return load(buffer, chunk, unflatten.getType());
  if (it == links.shares.end())
    return load(buffer, chunk, arg.getType());
  SmallVector<int64_t> shape = sizes.shape(getDims(arg));
  shape.insert(shape.begin() + 1, it->second);
  Value shares = tile::LoadOp::create(builder, alg.getLoc(), RankedTensorType::get(shape, sizes.computeType), buffer, chunk, APFloat(0.0));
  return alg.reduce(tile::ReduceKind::add, shares, 1);
}

Value KernelBuilder::load(Value buffer, Value chunk, Type type, double absent) {
  return tile::LoadOp::create(builder, alg.getLoc(), sizes.convert(type), buffer, chunk, APFloat(absent));
}

/// A partial value is stored into its block's place along a leading axis.
void KernelBuilder::store(Value value, Value buffer, Value chunk, Type type) {
  if (partial[cast<BlockArgument>(buffer).getArgNumber()]) {
    SmallVector<int64_t> shape(shapeOf(value));
    shape.insert(shape.begin() + (chunk ? 1 : 0), 1);
    value = alg.reshape(value, shape);
  }
  auto flatten = value.getDefiningOp<tensor::CollapseShapeOp>();
  if (chunk && flatten && flatten.getReassociationIndices()[0].size() == 1 &&
      comesApart(buffer, type, ArrayRef(shapeOf(flatten.getSrc())).drop_front()))
    value = flatten.getSrc();
  tile::StoreOp::create(builder, alg.getLoc(), value, buffer, chunk);
}

Value KernelBuilder::initialCarry(BlockArgument carry, Value buffer) {
  auto init = program.getArgAttr(carry.getArgNumber()).getAs<FloatAttr>("init");
  Value value = load(buffer, {}, carry.getType(), init ? init.getValueAsDouble() : 0.0);
  if (!program.getReverse() || !lacksColumns(carry.getType()))
    return value;
  // Blocks add their shares of this gradient to what comes from outside once.
  Value first = tile::FirstBlockOp::create(builder, alg.getLoc());
  return arith::SelectOp::create(builder, alg.getLoc(), first, value, alg.splat(0.0, value.getType()));
}

/// Loads, the chunk's operations, stores; carries and sums go round the loop.
LogicalResult KernelBuilder::buildLoop() {
  Location loc = alg.getLoc();
  SmallVector<Value> loadedParams, init;
  for (auto [param, buffer] : llvm::zip(program.getParams(), params))
    loadedParams.push_back(load(buffer, {}, param.getType()));
  for (auto [carry, buffer] : llvm::zip(program.getCarries(), carries))
    init.push_back(initialCarry(carry, buffer));
  chunk::YieldOp yield = program.getYield();
  for (Value sum : yield.getSums())
    init.push_back(alg.splat(0.0, sizes.convert(sum.getType())));
  if (init.empty())
    return buildBody(tile::ChunkIdOp::create(builder, loc), loadedParams, {}, nullptr);
  Value zero = arith::ConstantIndexOp::create(builder, loc, 0), one = arith::ConstantIndexOp::create(builder, loc, 1);
  Value count = tile::NumChunksOp::create(builder, loc);
  auto loop = scf::ForOp::create(builder, loc, zero, count, one, init);
  builder.setInsertionPointToStart(loop.getBody());
  Value index = loop.getInductionVar();
  if (program.getReverse())
    index = arith::SubIOp::create(builder, loc, arith::SubIOp::create(builder, loc, count, one), index);
  SmallVector<Value> next;
  if (failed(buildBody(index, loadedParams, loop.getRegionIterArgs(), &next)))
    return failure();
  scf::YieldOp::create(builder, yield.getLoc(), next);
  builder.setInsertionPointAfter(loop);
  for (auto [value, buffer] : llvm::zip(loop.getResults(), outCarries))
    store(value, buffer, {}, value.getType());
  for (auto [value, buffer] : llvm::zip(loop.getResults().drop_front(yield.getCarries().size()), outSums))
    store(value, buffer, {}, value.getType());
  return success();
}

/// One chunk; `next` receives the carries and sums.
LogicalResult KernelBuilder::buildBody(Value index, ValueRange loadedParams, ValueRange carried, SmallVectorImpl<Value> *next) {
  chunk::YieldOp yield = program.getYield();
  BodyConverter body(alg, index);
  for (auto [arg, buffer] : llvm::zip(program.getTokens(), tokens))
    body.map(arg, loadToken(arg, buffer, index));
  for (auto [arg, value] : llvm::zip(program.getParams(), loadedParams))
    body.map(arg, value);
  for (auto [arg, value] : llvm::zip(program.getCarries(), carried))
    body.map(arg, value);
  for (auto [arg, buffer] : llvm::zip(program.getSaved(), saved))
    body.map(arg, load(buffer, index, arg.getType()));
  for (Operation &op : program.getStep().without_terminator())
    if (failed(body.convert(&op)))
      return failure();
  alg.setLoc(yield.getLoc());
  for (auto [value, buffer] : llvm::zip(yield.getTokens(), outTokens))
    if (buffer)
      store(body.get(value), buffer, index, value.getType());
  for (auto [value, buffer] : llvm::zip(yield.getSaved(), outSaved))
    store(body.get(value), buffer, index, value.getType());
  if (!next)
    return success();
  for (Value carry : yield.getCarries())
    next->push_back(body.get(carry));
  for (auto [sum, total] : llvm::zip(yield.getSums(), carried.drop_front(yield.getCarries().size())))
    next->push_back(alg.add(total, body.get(sum)));
  return success();
}

LogicalResult KernelBuilder::build(const Twine &name) {
  kernel = tile::KernelOp::create(builder, program.getLoc(), name.str(), builder.getArrayAttr({}), ArrayRef<bool>{}, sizes.chunk, sizes.blocks,
                                  /*over_chunks=*/program.getNumCarries() == 0 && program.getYield().getSums().empty());
  builder.createBlock(&kernel.getBody());
  addInputs();
  addOutputs();
  kernel.setArgNamesAttr(builder.getArrayAttr(names));
  kernel.setOutputs(outputs);
  kernel->setAttr("roles", builder.getArrayAttr(roles));
  kernel->setAttr("partial", builder.getBoolArrayAttr(partial));
  if (failed(buildLoop()))
    return failure();
  tile::ReturnOp::create(builder, program.getLoc());
  return success();
}
