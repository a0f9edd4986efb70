//===- Kernelize.cpp - chunk programs into tile kernels -------------------===//
//
//   chunk.program @f tokens(%q : ..) carries(%S : ..) -> (o, S, S) { ... }
//   ==> dims=K:128,V:128
//   tile.kernel @f(%q: !tile.buffer<token, 128xf32>, %initial_S: .., out %o: .., out %final_S: ..) {
//     %S = tile.load %initial_S
//     scf.for %c = %c0 to tile.num_chunks iter_args(%S) { tile.load %q[%c] ... tile.store %o[%c] }
//     tile.store %final_S
//   }
//
// For examples see test/Conversion/ChunkToTile/kernelize.mlir.
//===----------------------------------------------------------------------===//
#include "BodyConverter.h"
#include "fla/Conversion/ChunkToTile/Passes.h"
#include "fla/Dialect/Chunk/IR/SplitDim.h"
#include "fla/Support/Dims.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace fla;

namespace fla {
#define GEN_PASS_DEF_KERNELIZE
#include "fla/Conversion/ChunkToTile/Passes.h.inc"
} // namespace fla

using tile::BufferKind;

//===----------------------------------------------------------------------===//
// One kernel
//===----------------------------------------------------------------------===//

namespace {
struct StorageTypes {
  Type standard;
  llvm::StringMap<Type> single;
  Type of(StringRef name) const {
    auto it = single.find(name);
    return it == single.end() ? standard : it->second;
  }
};

/// What programs of a module know of each other: values that cross between them.
struct Links {
  llvm::StringSet<> read;    ///< token values that some program reads
  llvm::StringSet<> temps;   ///< those that are neither inputs nor outputs of the definition
  llvm::StringMap<int64_t> shares; ///< gradients stored as one share a block
  Type outputType;                 ///< storage of outputs: that of the first per-token argument
};

/// What a forward kernel is for.
enum class Purpose { Run, RunAndSave, Replay };

class KernelBuilder {
public:
  KernelBuilder(chunk::ProgramOp program, const TileSizes &sizes, const StorageTypes &storage, Links &links, Purpose purpose)
      : program(program), sizes(sizes), storage(storage), links(links), purpose(purpose), builder(program), alg(builder, sizes) {
    alg.setLoc(program.getLoc());
  }
  LogicalResult build(const Twine &name);

private:
  Value addBuffer(const Twine &name, BufferKind kind, Type type, Type element, StringRef role, bool output);
  void addInputs();
  void addOutputs();
  bool isStored(unsigned result) const;
  Value loadToken(BlockArgument arg, Value buffer, Value chunk);
  Value load(Value buffer, Value chunk, Type type, double absent = 0);
  void store(Value value, Value buffer, Value chunk, Type type);
  /// A gradient that each block has its own share of: reverse mode is linear in
  /// the gradients, so the shares may be summed after everything else.
  bool isPartial(Type type) { return sizes.blocks > 1 && !hasDim(type, sizes.splitDim); }
  Value initialCarry(BlockArgument carry, Value buffer);
  LogicalResult buildLoop();
  LogicalResult buildBody(Value index, ValueRange loadedParams, ValueRange carried, SmallVectorImpl<Value> *next);
  BufferKind kindOf(BlockArgument param) {
    return program.getArgAttr(param.getArgNumber()).contains("value") ? BufferKind::value : BufferKind::param;
  }

  chunk::ProgramOp program;
  const TileSizes &sizes;
  const StorageTypes &storage;
  Links &links;
  Purpose purpose;
  OpBuilder builder;
  TileAlgebra alg;
  tile::KernelOp kernel;
  SmallVector<Attribute> names, roles;
  SmallVector<bool> outputs, partial;
  SmallVector<Value> tokens, params, carries, saved;
  SmallVector<Value> outTokens, outCarries, outSaved, outSums;
};
} // namespace

/// A buffer for values of a named type; a token buffer has no tokens in its shape.
Value KernelBuilder::addBuffer(const Twine &name, BufferKind kind, Type type, Type element, StringRef role, bool output) {
  ArrayRef<StringAttr> dims = getDims(type);
  if (kind == BufferKind::token)
    dims = dims.drop_front();
  names.push_back(builder.getStringAttr(name));
  roles.push_back(builder.getStringAttr(role));
  outputs.push_back(output);
  partial.push_back(output && isPartial(type));
  SmallVector<int64_t> shape = llvm::map_to_vector(dims, [&](StringAttr dim) { return sizes.fullSize(dim); });
  if (output && isPartial(type))
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
    carries.push_back(addBuffer(reverse ? "d_final_" + name.drop_front(2) : "initial_" + name, BufferKind::state, arg.getType(),
                                sizes.computeType, reverse ? "d_final_state" : "initial_state", false));
  }
  for (BlockArgument arg : program.getSaved())
    saved.push_back(addBuffer("saved_" + program.getArgName(arg.getArgNumber()), BufferKind::saved, arg.getType(), sizes.computeType, "saved", false));
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
    Type element = reverse || links.temps.contains(name) ? sizes.computeType : links.outputType;
    outTokens.push_back(isStored(next++) ? addBuffer(name, BufferKind::token, value.getType(), element, reverse ? "d_input" : "output", true) : Value());
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

/// The rows of a chunk; shares of a gradient are added here, once.
Value KernelBuilder::loadToken(BlockArgument arg, Value buffer, Value chunk) {
  auto it = links.shares.find(program.getArgName(arg.getArgNumber()));
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
  if (isPartial(type)) {
    SmallVector<int64_t> shape(shapeOf(value));
    shape.insert(shape.begin() + (chunk ? 1 : 0), 1);
    value = alg.reshape(value, shape);
  }
  tile::StoreOp::create(builder, alg.getLoc(), value, buffer, chunk);
}

Value KernelBuilder::initialCarry(BlockArgument carry, Value buffer) {
  auto init = program.getArgAttr(carry.getArgNumber()).getAs<FloatAttr>("init");
  return load(buffer, {}, carry.getType(), init ? init.getValueAsDouble() : 0.0);
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
  for (auto [value, buffer, carry] : llvm::zip(loop.getResults(), outCarries, yield.getCarries()))
    store(value, buffer, {}, carry.getType());
  for (auto [value, buffer, sum] : llvm::zip(loop.getResults().drop_front(yield.getCarries().size()), outSums, yield.getSums()))
    store(value, buffer, {}, sum.getType());
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

//===----------------------------------------------------------------------===//
// Sizes
//===----------------------------------------------------------------------===//

/// Sizes that the program itself fixes: a dimension that is only indexed.
static void collectIndexedDims(chunk::ProgramOp program, llvm::StringMap<int64_t> &sizes) {
  program.walk([&](Operation *op) {
    Value whole, part;
    int64_t position = 0;
    if (auto index = dyn_cast<IndexOp>(op))
      whole = index.getValue(), part = index.getResult(), position = index.getPosition();
    else
      return;
    for (StringAttr dim : getDims(whole))
      if (!hasDim(part.getType(), dim.getValue())) {
        int64_t &size = sizes[dim.getValue()];
        size = std::max(size, position + 1);
      }
  });
}

static LogicalResult chooseSizes(chunk::ProgramOp program, const llvm::StringMap<int64_t> &given, llvm::StringMap<int64_t> &sizes) {
  llvm::StringMap<int64_t> names, indexed;
  for (BlockArgument arg : program.getStep().getArguments())
    for (StringAttr dim : getDims(arg))
      collectDimNames(dim.getValue(), names);
  collectIndexedDims(program, indexed);
  for (auto &entry : names) {
    StringRef name = entry.getKey();
    if (name == kTokens)
      continue;
    if (auto it = given.find(name); it != given.end())
      sizes[name] = it->second;
    else if (auto it = indexed.find(name); it != indexed.end())
      sizes[name] = it->second;
    else
      sizes[name] = name == "K" || name == "V" ? 128 : 64;
    if (sizes[name] <= 0)
      return program.emitError() << "expected a positive size of dimension '" << name << "', got " << sizes[name];
  }
  return success();
}

/// 64 tokens; 16 where a solve meets vector gates, whose dyadic levels cost more
/// than the smaller chunk; fewer when a token has several rows that read the
/// state, or when values of a token are large (an elementwise matrix state).
static int64_t chooseChunk(chunk::ProgramOp program, const TileSizes &sizes) {
  int64_t rows = 1;
  bool solves = false, vectorGate = false;
  program.walk([&](chunk::SolveOp solve) {
    solves = true;
    rows = std::max<int64_t>(rows, solve.getRows().size());
  });
  auto isVector = [](Value gate) { return gate && getDims(gate).size() > hasDim(gate.getType(), kTokens); };
  program.walk([&](chunk::ScoreOp score) { vectorGate |= isVector(score.getGate()); });
  int64_t chunk = (solves && vectorGate ? 16 : 64) / llvm::PowerOf2Ceil(rows);
  constexpr int64_t kLargestTile = 1 << 17; // elements: half a megabyte of f32, a second-level cache
  program.walk([&](Operation *op) {
    for (Value result : op->getResults()) {
      auto dims = getDims(result);
      if (dims.size() < 3 || dims[0].getValue() != kTokens)
        continue;
      int64_t perToken = 1;
      for (int64_t size : sizes.shape(dims.drop_front()))
        perToken *= size;
      while (chunk > 1 && chunk * perToken > kLargestTile)
        chunk /= 2;
    }
  });
  return std::max<int64_t>(chunk, 1);
}

//===----------------------------------------------------------------------===//
// Column blocks
//===----------------------------------------------------------------------===//

/// Cuts the columns of the program with the states into the largest number of
/// equal blocks that is at most what was asked for; 1 if they belong together.
static void chooseBlocks(ArrayRef<chunk::ProgramOp> programs, int64_t wanted, TileSizes &sizes) {
  for (chunk::ProgramOp program : programs) {
    StringRef dim = program.getReverse() || wanted <= 1 ? StringRef() : chunk::columnDim(program);
    if (dim.empty() || !chunk::isSplittable(program, dim))
      continue;
    int64_t size = sizes.fullSize(StringAttr::get(program->getContext(), dim));
    sizes.splitDim = dim.str();
    for (sizes.blocks = std::min(wanted, size); size % sizes.blocks; --sizes.blocks) {
    }
  }
}

/// Outputs are stored as the definition's first per-token argument is.
static StringRef firstInput(ArrayRef<chunk::ProgramOp> programs) {
  for (chunk::ProgramOp program : programs)
    if (auto name = program->getAttrOfType<StringAttr>("outputs_like"))
      return name.getValue();
  return programs.empty() ? StringRef() : chunk::ProgramOp(programs.front()).getArgName(0);
}

static Links findLinks(ArrayRef<chunk::ProgramOp> programs) {
  Links links;
  for (chunk::ProgramOp program : programs)
    for (BlockArgument arg : program.getTokens()) {
      unsigned i = arg.getArgNumber();
      links.read.insert(program.getArgName(i));
      if (program.getArgAttr(i).contains("temp"))
        links.temps.insert(program.getArgName(i));
    }
  return links;
}

//===----------------------------------------------------------------------===//
// The pass
//===----------------------------------------------------------------------===//

static Type parseStorageType(MLIRContext *context, StringRef name) {
  return llvm::StringSwitch<Type>(name)
      .Case("f64", Float64Type::get(context))
      .Case("f32", Float32Type::get(context))
      .Case("f16", Float16Type::get(context))
      .Case("bf16", BFloat16Type::get(context))
      .Default({});
}

namespace {
struct Kernelize : fla::impl::KernelizeBase<Kernelize> {
  using KernelizeBase::KernelizeBase;

  void runOnOperation() override {
    llvm::StringMap<int64_t> given;
    StorageTypes storage;
    if (failed(readOptions(given, storage)))
      return signalPassFailure();
    SmallVector<chunk::ProgramOp> programs(getOperation().getOps<chunk::ProgramOp>());
    // Both directions of a definition share the chunk: saved states belong to chunks.
    TileSizes sizes;
    sizes.computeType = computeType(storage);
    for (chunk::ProgramOp program : programs)
      if (failed(chooseSizes(program, given, sizes.dims)))
        return signalPassFailure();
    sizes.chunk = chunk;
    if (chunk == 0) {
      sizes.chunk = 64;
      for (chunk::ProgramOp program : programs)
        sizes.chunk = std::min(sizes.chunk, chooseChunk(program, sizes));
    }
    TileSizes split = sizes;
    chooseBlocks(programs, blocks, split);
    Links links = findLinks(programs);
    links.outputType = storage.of(firstInput(programs));
    for (chunk::ProgramOp program : programs)
      if (failed(kernelize(program, program.getNumCarries() ? split : sizes, storage, links)))
        return signalPassFailure();
    for (chunk::ProgramOp program : programs)
      program.erase();
  }

  LogicalResult kernelize(chunk::ProgramOp program, const TileSizes &sizes, const StorageTypes &storage, Links &links) {
    Purpose purpose = program.getReverse() ? Purpose::Run : saveStates ? Purpose::RunAndSave : Purpose::Run;
    if (program->hasAttr("replay"))
      purpose = Purpose::Replay;
    bool isIdle = purpose == Purpose::Replay && program.getNumCarries() == 0 &&
                  llvm::none_of(program.getResultNames().getAsValueRange<StringAttr>(), [&](StringRef name) { return links.read.contains(name); });
    if (isIdle)
      return success();
    return KernelBuilder(program, sizes, storage, links, purpose).build(program.getSymName() + (purpose == Purpose::Replay ? "_replay" : ""));
  }

  LogicalResult readOptions(llvm::StringMap<int64_t> &given, StorageTypes &storage) {
    for (StringRef entry : dims) {
      auto [name, number] = entry.split(':');
      int64_t size;
      if (number.getAsInteger(10, size))
        return getOperation().emitError() << "expected dims as NAME:SIZE, got '" << entry << "'";
      given[name] = size;
    }
    auto type = [&](StringRef name) -> Type {
      Type result = parseStorageType(&getContext(), name);
      if (!result)
        getOperation().emitError() << "expected a storage type f64, f32, bf16 or f16, got '" << name << "'";
      return result;
    };
    if (!(storage.standard = type(dtype)))
      return failure();
    for (StringRef entry : dtypes) {
      auto [name, typeName] = entry.split(':');
      if (!(storage.single[name] = type(typeName)))
        return failure();
    }
    if (chunk < 0 || (chunk > 0 && !llvm::isPowerOf2_64(chunk)))
      return getOperation().emitError() << "expected chunk size to be a power of two, got " << chunk.getValue();
    return success();
  }

  /// f64 if any input is, else f32.
  Type computeType(const StorageTypes &storage) {
    bool wide = storage.standard.isF64() || llvm::any_of(storage.single, [](auto &entry) { return entry.second.isF64(); });
    return wide ? Type(Float64Type::get(&getContext())) : Type(Float32Type::get(&getContext()));
  }
};
} // namespace
