//===- SplitDim.cpp - may a dimension be cut into blocks? -----------------===//
#include "fla/Dialect/Chunk/IR/SplitDim.h"
#include "fla/Support/Dims.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace fla;
using namespace fla::chunk;

/// A dimension such as `2*V` holds `V` without being it.
static bool mentions(Value value, StringRef dim) {
  return llvm::any_of(getDims(value), [&](StringAttr name) {
    llvm::StringMap<int64_t> parts;
    collectDimNames(name.getValue(), parts);
    return parts.contains(dim) && name.getValue() != dim;
  });
}

static bool mixes(Operation *op, StringRef dim) {
  auto holds = [&](Value value) { return mentions(value, dim); };
  return llvm::any_of(op->getOperands(), holds) || llvm::any_of(op->getResults(), holds);
}

bool chunk::needsWhole(Operation *op, StringRef dim) {
  if (mixes(op, dim))
    return true;
  auto has = [&](Value value) { return hasDim(value.getType(), dim); };
  if (llvm::none_of(op->getOperands(), has))
    return llvm::any_of(op->getResults(), has) && op->getNumOperands() && !isa<BroadcastOp>(op);
  return !llvm::all_of(op->getResults(), has) || isa<SoftmaxOp, RotateOp, ConcatOp, IndexOp>(op);
}

StringRef chunk::columnDim(ProgramOp program) {
  for (Value carry : program.getCarries())
    if (getDims(carry).size() == 2)
      return getDims(carry).back().getValue();
  return {};
}

bool chunk::isSplittable(ProgramOp program, StringRef dim, bool repeat) {
  auto has = [&](Value value) { return hasDim(value.getType(), dim); };
  ValueRange carries = program.getYield().getCarries();
  return !dim.empty() && llvm::all_of(program.getYield().getTokens(), has) && (repeat || llvm::all_of(carries, has)) &&
         llvm::none_of(program.getStep().without_terminator(), [&](Operation &op) { return needsWhole(&op, dim); });
}

//===----------------------------------------------------------------------===//
// Shares
//===----------------------------------------------------------------------===//

/// Whether the sum over blocks of an operation's results is its result on the sums of the operands that are shares.
static bool isLinear(Operation *op, llvm::function_ref<bool(Value)> isShare) {
  auto one = [&](Value x, Value y) { return isShare(x) != isShare(y); };
  return llvm::TypeSwitch<Operation *, bool>(op)
      .Case<arith::AddFOp, arith::SubFOp>([&](auto) { return llvm::all_of(op->getOperands(), isShare); })
      .Case<arith::MulFOp, ScaleOp, ContractOp>([&](auto) { return one(op->getOperand(0), op->getOperand(1)); })
      .Case([&](arith::DivFOp x) { return !isShare(x.getRhs()); })
      .Case([&](ScoreOp x) { return one(x.getB(), x.getX()) && !(x.getGate() && isShare(x.getGate())); })
      .Case([&](ApplyOp x) { return one(x.getP(), x.getX()) && !(x.getGate() && isShare(x.getGate())); })
      .Case([&](SolveOp x) {
        return llvm::none_of(x.getScores(), isShare) && llvm::all_of(x.getRows(), isShare) && !(x.getGate() && isShare(x.getGate()));
      })
      .Case([&](PadOp x) { return x.getNeutral().isZero(); })
      .Case<arith::NegFOp, CumSumOp, FlattenOp, UnflattenOp, RenameOp, BroadcastOp, SumOp, IndexOp, PlaceOp>([](auto) { return true; })
      .Default(false);
}

std::optional<Holding> chunk::holdingOf(Operation *op, StringRef dim, llvm::function_ref<Holding(Value)> holding) {
  auto is = [&](Holding part) { return [&holding, part](Value value) { return holding(value) == part; }; };
  auto has = [&](Value value) { return hasDim(value.getType(), dim); };
  bool shares = llvm::any_of(op->getOperands(), is(Holding::Share)), slices = llvm::any_of(op->getOperands(), is(Holding::Slice));
  if (mixes(op, dim) || (shares && slices))
    return std::nullopt;
  if (shares)
    return llvm::none_of(op->getResults(), has) && isLinear(op, is(Holding::Share)) ? std::optional(Holding::Share) : std::nullopt;
  if (!needsWhole(op, dim))
    return llvm::any_of(op->getResults(), has) ? Holding::Slice : Holding::Whole;
  bool sums = isa<ContractOp, SumOp, ScoreOp>(op) && llvm::none_of(op->getResults(), has);
  return slices && sums ? std::optional(Holding::Share) : std::nullopt;
}

//===----------------------------------------------------------------------===//
// Sizes
//===----------------------------------------------------------------------===//

/// Sizes that the program itself fixes: a dimension that is only indexed.
static void collectIndexedDims(chunk::ProgramOp program, llvm::StringMap<int64_t> &sizes) {
  program.walk([&](IndexOp index) {
    for (StringAttr dim : getDims(index.getValue()))
      if (!hasDim(index.getType(), dim.getValue())) {
        int64_t &size = sizes[dim.getValue()];
        size = std::max<int64_t>(size, index.getPosition() + 1);
      }
  });
}

LogicalResult chunk::chooseSizes(ProgramOp program, const llvm::StringMap<int64_t> &given, llvm::StringMap<int64_t> &sizes) {
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

Blocks chunk::blocksNeeded(ProgramOp program, StringRef dim, const llvm::StringMap<int64_t> &sizes, int64_t largest, bool equal) {
  llvm::SmallPtrSet<Type, 4> scanned; // a gradient has its state's type
  program.walk([&](ScanOp scan) {
    if (getDims(scan.getInitial()).size() > 1)
      scanned.insert(scan.getInitial().getType());
  });
  auto fits = [&](Value carry, int64_t blocks) {
    int64_t elements = scanned.contains(carry.getType()) ? 16 : 1;
    for (StringAttr name : getDims(carry))
      elements *= llvm::PowerOf2Ceil(llvm::divideCeil(evaluateDim(name.getValue(), sizes).value_or(1), name.getValue() == dim ? blocks : 1));
    return elements <= largest;
  };
  int64_t size = evaluateDim(dim, sizes).value_or(1), narrowest = scanned.empty() ? 16 : 1;
  Blocks best;
  bool done = false;
  for (int64_t count = 1; !done && (count == 1 || size / count >= narrowest); ++count)
    if (isDivision(size, count, equal)) {
      done = llvm::all_of(program.getCarries(), [&](Value carry) { return !hasDim(carry.getType(), dim) || fits(carry, count); });
      best = {count, llvm::all_of(program.getCarries(), [&](Value carry) { return fits(carry, count); })};
    }
  return best;
}
