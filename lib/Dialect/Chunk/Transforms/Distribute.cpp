//===- Distribute.cpp - what needs whole columns leaves the scan ----------===//
//
//   chunk.program @f tokens(%k) carries(%S) { %n = l2norm %k; %r = scan..; %o = rmsnorm %r }
//   ==> (the columns of S can now be cut into blocks)
//   chunk.program @f_prologue tokens(%k)               -> (f.0)  { %n = l2norm %k }
//   chunk.program @f          tokens(%f.0) carries(%S) -> (f.1, ..) { %r = scan.. }
//   chunk.program @f_epilogue tokens(%f.1)             -> (o)    { %o = rmsnorm %r }
//
// For examples see test/Dialect/Chunk/Transforms/distribute.mlir.
//===----------------------------------------------------------------------===//
#include "fla/Dialect/Chunk/IR/SplitDim.h"
#include "fla/Dialect/Chunk/Transforms/Passes.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace fla;
using namespace fla::chunk;

namespace fla {
#define GEN_PASS_DEF_DISTRIBUTE
#include "fla/Dialect/Chunk/Transforms/Passes.h.inc"
} // namespace fla

namespace {
enum Part { Prologue, Core, Epilogue };

/// Assigns every operation of a forward program to a part. With `shares` the scan may
/// sum over the dimension: blocks then hand shares of what they read to the epilogue.
class Partition {
public:
  Partition(chunk::ProgramOp program, StringRef dim, bool shares) : program(program), dim(dim), shares(shares) {}
  /// False if the columns cannot be separated.
  bool compute();
  Part of(Operation *op) const { return part.lookup(op); }
  bool addsShares() const { return shares; }
  /// Computed from values that are the same for every token: each part computes its own.
  static bool isShared(Operation *op) {
    auto isSame = [](Value v) { return !hasDim(v.getType(), kTokens) && !hasDim(v.getType(), kPast); };
    return llvm::all_of(op->getOperands(), isSame) && (isa<fla::BroadcastOp>(op) || llvm::all_of(op->getResults(), isSame));
  }

private:
  bool isInput(Value value) {
    auto arg = dyn_cast<BlockArgument>(value);
    return arg && arg.getArgNumber() < program.getNumTokens() + program.getNumParams();
  }
  bool isColumnFree(Operation *op) const {
    auto has = [&](Value value) { return hasColumns(value); };
    return llvm::none_of(op->getOperands(), has) && llvm::none_of(op->getResults(), has);
  }
  void markPrologue();
  void markEpilogue();
  bool staysInScan(Operation *op);
  bool hasColumns(Value value) const { return hasDim(value.getType(), dim); }
  Holding heldOf(Value value) const {
    auto it = shared.find(value);
    return it != shared.end() ? it->second : hasColumns(value) ? Holding::Slice : Holding::Whole;
  }

  chunk::ProgramOp program;
  StringRef dim;
  bool shares;
  llvm::DenseMap<Operation *, Part> part;
  llvm::DenseMap<Value, Holding> shared; ///< values that are shares
};
} // namespace

/// Operations on inputs alone: those without columns, whose gradients would
/// otherwise run once a block, and those that whole columns are needed for.
void Partition::markPrologue() {
  llvm::DenseSet<Operation *> wanted;
  SmallVector<Operation *> eligible;
  llvm::DenseSet<Operation *> isEligible;
  for (Operation &op : program.getStep().without_terminator()) {
    bool onInputs = llvm::all_of(op.getOperands(), [&](Value v) { return isInput(v) || isEligible.contains(v.getDefiningOp()); });
    if (onInputs && !isa_and_nonnull<ChunkDialect>(op.getDialect())) {
      eligible.push_back(&op);
      isEligible.insert(&op);
    }
  }
  for (Operation *op : llvm::reverse(eligible)) {
    bool feeds = llvm::any_of(op->getUsers(), [&](Operation *user) { return wanted.contains(user); });
    if (feeds || isColumnFree(op) || needsWhole(op, dim))
      wanted.insert(op);
  }
  for (Operation &op : program.getStep().without_terminator())
    part[&op] = wanted.contains(&op) ? Prologue : Core;
}

/// Outputs are never shares: what makes them adds the blocks' shares of its operands.
bool Partition::staysInScan(Operation *op) {
  if (!shares)
    return !needsWhole(op, dim);
  auto held = holdingOf(op, dim, [&](Value value) { return heldOf(value); });
  if (held == Holding::Share) {
    ValueRange outputs = program.getYield().getTokens();
    if (llvm::any_of(op->getResults(), [&](Value result) { return llvm::is_contained(outputs, result); }))
      return false;
    for (Value result : op->getResults())
      shared[result] = *held;
  }
  return held.has_value();
}

void Partition::markEpilogue() {
  for (Operation &op : program.getStep().without_terminator()) {
    if (part[&op] == Prologue || isShared(&op))
      continue;
    bool after = llvm::any_of(op.getOperands(), [&](Value v) { return v.getDefiningOp() && part.lookup(v.getDefiningOp()) == Epilogue; });
    if (after || !staysInScan(&op))
      part[&op] = Epilogue;
  }
}

bool Partition::compute() {
  markPrologue();
  markEpilogue();
  for (Value carry : program.getYield().getCarries())
    if (!hasColumns(carry) || (carry.getDefiningOp() && part.lookup(carry.getDefiningOp()) != Core))
      return false;
  for (Operation &op : program.getStep().without_terminator()) {
    if (part[&op] != Epilogue)
      continue;
    if (isa_and_nonnull<ChunkDialect>(op.getDialect()))
      return false;
    // What crosses from the scan must be rows of the block's own columns, or shares of rows.
    for (Value operand : op.getOperands()) {
      bool fromCore =
          operand.getDefiningOp() ? part.lookup(operand.getDefiningOp()) == Core && !isShared(operand.getDefiningOp()) : !isInput(operand);
      bool crosses = hasDim(operand.getType(), kTokens) && heldOf(operand) != Holding::Whole;
      if (fromCore && !crosses)
        return false;
    }
  }
  return llvm::all_of(program.getYield().getTokens(),
                      [&](Value output) { return !output.getDefiningOp() || part.lookup(output.getDefiningOp()) != Core || hasColumns(output); });
}

namespace {
/// Builds the programs of the parts, in order.
class Distributor {
public:
  /// The scan's program is marked as cut along `split` unless that is empty.
  Distributor(chunk::ProgramOp program, Partition &partition, StringRef split = {})
      : program(program), partition(partition), builder(program), split(split.str()) {}
  void run();

private:
  void build(Part part, StringRef suffix);
  bool isNeededAfter(Value value, Part part);
  bool belongs(Operation *op, Part part) { return partition.of(op) == part && !Partition::isShared(op); }
  /// Copies what a part needs of the values shared by all parts.
  Value get(Value value, IRMapping &mapping);

  chunk::ProgramOp program;
  Partition &partition;
  OpBuilder builder;
  std::string split;
  llvm::MapVector<Value, std::string> crossing; ///< made by an earlier part
};
} // namespace

bool Distributor::isNeededAfter(Value value, Part part) {
  return llvm::any_of(value.getUsers(),
                      [&](Operation *user) { return !isa<chunk::YieldOp>(user) && !Partition::isShared(user) ? partition.of(user) > part : false; });
}

Value Distributor::get(Value value, IRMapping &mapping) {
  if (Value copy = mapping.lookupOrNull(value))
    return copy;
  Operation *op = value.getDefiningOp();
  for (Value operand : op->getOperands())
    get(operand, mapping);
  builder.clone(*op, mapping);
  return mapping.lookup(value);
}

/// A part takes only the parameters that it reads.
static void dropUnusedParams(chunk::ProgramOp program) {
  SmallVector<Attribute> names(program.getArgNames().getValue()), attrs(program.getArgAttrs().getValue());
  unsigned kept = program.getNumParams();
  for (unsigned i = program.getNumTokens() + program.getNumParams(); i-- > program.getNumTokens();) {
    if (!program.getStep().getArgument(i).use_empty())
      continue;
    program.getStep().eraseArgument(i);
    names.erase(names.begin() + i);
    attrs.erase(attrs.begin() + i);
    --kept;
  }
  program.setNumParams(kept);
  program.setArgNamesAttr(ArrayAttr::get(program.getContext(), names));
  program.setArgAttrsAttr(ArrayAttr::get(program.getContext(), attrs));
}

void Distributor::build(Part part, StringRef suffix) {
  SmallVector<Operation *> ops;
  for (Operation &op : program.getStep().without_terminator())
    if (belongs(&op, part))
      ops.push_back(&op);
  if (ops.empty() && part != Core)
    return;
  // Values that the part reads: its operands, and an output that is an input.
  llvm::SetVector<Value> reads;
  for (Operation *op : ops)
    reads.insert(op->operand_begin(), op->operand_end());
  chunk::YieldOp yield = program.getYield();
  SmallVector<Attribute> names, attrs, results;
  SmallVector<Value> tokens, outputs;
  Attribute temp = builder.getDictionaryAttr(builder.getNamedAttr("temp", builder.getUnitAttr()));
  for (BlockArgument arg : program.getTokens())
    if (reads.contains(arg) || (part == Core && llvm::is_contained(yield.getTokens(), arg))) {
      tokens.push_back(arg);
      names.push_back(program.getArgNames()[arg.getArgNumber()]);
      attrs.push_back(program.getArgAttrs()[arg.getArgNumber()]);
    }
  for (auto &[value, name] : crossing)
    if (reads.contains(value)) {
      tokens.push_back(value);
      names.push_back(builder.getStringAttr(name));
      attrs.push_back(temp);
    }
  unsigned numTokens = tokens.size();
  SmallVector<Value> others(program.getParams());
  if (part == Core)
    llvm::append_range(others, program.getCarries());
  for (Value arg : others) {
    names.push_back(program.getArgNames()[cast<BlockArgument>(arg).getArgNumber()]);
    attrs.push_back(program.getArgAttrs()[cast<BlockArgument>(arg).getArgNumber()]);
  }
  // Values that it makes: final outputs and what later parts read.
  for (auto [i, output] : llvm::enumerate(yield.getTokens())) {
    Operation *def = output.getDefiningOp();
    if (def ? belongs(def, part) : part == Core) {
      outputs.push_back(output);
      results.push_back(program.getResultNames()[i]);
    }
  }
  for (Operation *op : ops)
    for (Value value : op->getResults())
      if (isNeededAfter(value, part)) {
        std::string name = (program.getSymName() + "." + Twine(crossing.size())).str();
        crossing[value] = name;
        outputs.push_back(value);
        results.push_back(builder.getStringAttr(name));
      }
  if (part == Core)
    for (int repeat = 0; repeat < 2; ++repeat)
      for (BlockArgument carry : program.getCarries())
        results.push_back(program.getArgNames()[carry.getArgNumber()]);

  auto copy = chunk::ProgramOp::create(builder, program.getLoc(), (program.getSymName() + suffix).str(), builder.getArrayAttr(names),
                                       builder.getArrayAttr(attrs), numTokens, program.getNumParams(), part == Core ? program.getNumCarries() : 0,
                                       builder.getArrayAttr(results), /*reverse=*/false);
  copy->setDiscardableAttrs(program->getDiscardableAttrDictionary());
  if (part == Core && !split.empty())
    copy->setAttr(kSplitAttr, builder.getStringAttr(split));
  if (part == Core && !split.empty() && partition.addsShares())
    copy->setAttr(kSharesAttr, builder.getUnitAttr());
  if (!copy->hasAttr("definition"))
    copy->setAttr("definition", program.getSymNameAttr());
  OpBuilder::InsertionGuard guard(builder);
  Block *body = builder.createBlock(&copy.getBody());
  IRMapping mapping;
  llvm::append_range(tokens, others);
  for (Value value : tokens)
    mapping.map(value, body->addArgument(value.getType(), value.getLoc()));
  for (Operation *op : ops) {
    for (Value operand : op->getOperands())
      get(operand, mapping);
    builder.clone(*op, mapping);
  }
  auto copies = [&](ValueRange values) { return llvm::map_to_vector(values, [&](Value v) { return get(v, mapping); }); };
  SmallVector<Value> carries, saved;
  if (part == Core) {
    carries = copies(yield.getCarries());
    llvm::append_range(saved, copy.getCarries());
  }
  chunk::YieldOp::create(builder, yield.getLoc(), copies(outputs), carries, saved, ValueRange());
  dropUnusedParams(copy);
}

void Distributor::run() {
  build(Prologue, "_prologue");
  build(Core, "");
  build(Epilogue, "_epilogue");
  program.erase();
}

namespace {
struct Distribute : fla::impl::DistributeBase<Distribute> {
  using DistributeBase::DistributeBase;

  void runOnOperation() override {
    llvm::StringMap<int64_t> given;
    for (StringRef entry : dims) {
      auto [name, number] = entry.split(':');
      if (number.getAsInteger(10, given[name])) {
        getOperation().emitError() << "expected dims as NAME:SIZE, got '" << entry << "'";
        return signalPassFailure();
      }
    }
    for (auto program : llvm::make_early_inc_range(getOperation().getOps<chunk::ProgramOp>())) {
      if (program.getReverse() || program->hasAttr(kSplitAttr))
        continue;
      if (largest) {
        llvm::StringMap<int64_t> sizes;
        if (failed(chooseSizes(program, given, sizes)))
          return signalPassFailure();
        cutStates(program, sizes);
      } else if (StringRef dim = columnDim(program); !dim.empty() && !(ifNeeded && isSplittable(program, dim))) {
        distribute(program, dim, /*shares=*/false, /*mark=*/false);
      }
    }
  }

  /// The program in parts, if `dim` can be cut.
  static bool distribute(chunk::ProgramOp program, StringRef dim, bool shares, bool mark) {
    Partition partition(program, dim, shares);
    if (!partition.compute())
      return false;
    Distributor(program, partition, mark ? dim : StringRef()).run();
    return true;
  }

  /// Cuts states that are too large: along a dimension that needs no other programs if
  /// that can be, else by columns, or by rows; where blocks fit, if any do.
  void cutStates(chunk::ProgramOp program, const llvm::StringMap<int64_t> &sizes) {
    SmallVector<std::string> dims; // the last state's columns first
    for (Value carry : llvm::reverse(program.getCarries()))
      if (getDims(carry).size() == 2)
        for (StringAttr dim : llvm::reverse(getDims(carry)))
          dims.push_back(dim.str());
    auto isSmall = [](Blocks blocks) { return blocks.count == 1 && blocks.fit; };
    if (dims.empty() || isSmall(blocksNeeded(program, dims[0], sizes, largest, /*equal=*/false)))
      return;
    for (bool mustFit : {true, false}) {
      auto suits = [&](StringRef dim, bool shares) {
        Blocks blocks = blocksNeeded(program, dim, sizes, largest, /*equal=*/shares);
        return blocks.count > 1 && (blocks.fit || !mustFit);
      };
      for (StringRef dim : dims)
        if (suits(dim, false) && isSplittable(program, dim, /*repeat=*/true)) {
          program->setAttr(kSplitAttr, StringAttr::get(&getContext(), dim));
          return;
        }
      for (bool shares : {false, true})
        for (StringRef dim : dims)
          if (suits(dim, shares) && distribute(program, dim, shares, /*mark=*/true))
            return;
    }
  }
};
} // namespace
