//===- FormChunks.cpp - canonical programs into chunk programs ------------===//
//
//   %n, %o = fla.affine %S row_gate(%g) writes(%k) values(%v) queries(%q)
//   ==>
//   %p = chunk.score %q, %k gate(%g)          %a = chunk.apply %p, %v
//   %o = (q e^prefix) S + %a                  %n = e^total S + k^T (v e^suffix)
//
// For examples see test/Conversion/FLAToChunk/form-chunks.mlir.
//===----------------------------------------------------------------------===//
#include "fla/Conversion/FLAToChunk/Passes.h"
#include "AffineChunk.h"
#include "fla/Dialect/Chunk/IR/Chunk.h"

using namespace mlir;
using namespace fla;

namespace fla {
#define GEN_PASS_DEF_FORMCHUNKS
#include "fla/Conversion/FLAToChunk/Passes.h.inc"
} // namespace fla

namespace {
/// Lifts one program from a token to the tokens of a chunk.
class ChunkFormer {
public:
  explicit ChunkFormer(fla::ProgramOp source) : source(source), builder(source) {}
  void run();

private:
  void createProgram();
  void liftOp(Operation *op);
  void liftScan(ScanOp op);
  void liftAffine(AffineOp op);
  void liftElementwise(Operation *op);
  Value liftProduct(Operation *op, Value a, Value b);
  void yield();

  Algebra algebra(Operation *op) { return Algebra(builder, op->getLoc()); }
  Value get(Value value) { return mapping.lookup(value); }
  Value getTokens(Value value) { return addTokens(builder, get(value)); }
  /// `type` with tokens in front if any operand has them.
  Type liftedType(Operation *op, Type type) {
    bool tokens = llvm::any_of(op->getOperands(), [&](Value v) { return hasDim(get(v).getType(), kTokens); });
    return tokens ? withTokens(type) : type;
  }

  fla::ProgramOp source;
  chunk::ProgramOp target;
  OpBuilder builder;
  IRMapping mapping;
  llvm::DenseMap<Value, Value> nextCarry;
};
} // namespace

void ChunkFormer::createProgram() {
  SmallVector<BlockArgument> tokens, params;
  for (BlockArgument arg : source.getInputs())
    (source.isPerToken(arg.getArgNumber()) ? tokens : params).push_back(arg);
  SmallVector<BlockArgument> order(tokens);
  llvm::append_range(order, params);
  llvm::append_range(order, source.getStates());
  SmallVector<Attribute> names, attrs, results;
  for (BlockArgument arg : order) {
    names.push_back(source.getArgNames()[arg.getArgNumber()]);
    attrs.push_back(source.getArgAttrs()[arg.getArgNumber()]);
  }
  unsigned outputs = source.getYield().getOutputs().size();
  std::string stem = "o";
  while (llvm::any_of(source.getArgNames().getAsValueRange<StringAttr>(), [&](StringRef name) { return name.starts_with(stem); }))
    stem += "_";
  for (unsigned i = 0; i < outputs; ++i)
    results.push_back(builder.getStringAttr(outputs == 1 ? stem : stem + Twine(i)));
  for (int repeat = 0; repeat < 2; ++repeat) // next carries, then what each chunk saves
    for (BlockArgument state : source.getStates())
      results.push_back(source.getArgNames()[state.getArgNumber()]);
  target = chunk::ProgramOp::create(builder, source.getLoc(), source.getSymName(), builder.getArrayAttr(names), builder.getArrayAttr(attrs),
                                    tokens.size(), params.size(), source.getNumStates(), builder.getArrayAttr(results), /*reverse=*/false);
  target->setAttr("definition", source.getSymNameAttr());
  target->setAttr("outputs_like", names.front());
  Block *body = builder.createBlock(&target.getBody());
  for (BlockArgument arg : order) {
    Type type = source.isPerToken(arg.getArgNumber()) ? withTokens(arg.getType()) : arg.getType();
    mapping.map(arg, body->addArgument(type, arg.getLoc()));
  }
}

void ChunkFormer::liftElementwise(Operation *op) {
  Type lifted = liftedType(op, op->getResult(0).getType());
  SmallVector<Value> operands;
  for (Value operand : op->getOperands())
    operands.push_back(hasDim(lifted, kTokens) ? getTokens(operand) : get(operand));
  Operation *copy = builder.create(op->getLoc(), op->getName().getIdentifier(), operands, lifted, op->getAttrs());
  mapping.map(op->getResult(0), copy->getResult(0));
}

/// scale, read, dot and outer are products by name.
Value ChunkFormer::liftProduct(Operation *op, Value a, Value b) {
  return algebra(op).contract(get(a), get(b), getDims(liftedType(op, op->getResult(0).getType())));
}

void ChunkFormer::liftScan(ScanOp op) {
  Algebra alg = algebra(op);
  bool linear = op.getKind() == ScanKind::linear;
  Value decay = pad(alg, getTokens(op.getDecay()), linear ? 1.0 : 0.0);
  Value input = pad(alg, getTokens(op.getInput()), linear ? 0.0 : -std::numeric_limits<double>::infinity());
  auto scan = chunk::ScanOp::create(builder, op.getLoc(), op.getKind(), get(op.getState()), decay, input);
  nextCarry[op.getState()] = scan.getLast();
  mapping.map(op.getState(), scan.getPrev());
  mapping.map(op.getNext(), scan.getNext());
}

void ChunkFormer::liftAffine(AffineOp op) {
  AffineChunk chunk(builder, op, [&](Value value) { return get(value); });
  nextCarry[op.getState()] = chunk.run();
  for (auto [answer, value] : llvm::zip(op.getAnswers(), chunk.getAnswers()))
    mapping.map(answer, value);
}

void ChunkFormer::liftOp(Operation *op) {
  if (auto scan = dyn_cast<ScanOp>(op))
    return liftScan(scan);
  if (auto affine = dyn_cast<AffineOp>(op))
    return liftAffine(affine);
  if (isa<arith::ConstantOp>(op)) {
    builder.clone(*op, mapping);
    return;
  }
  Algebra alg = algebra(op);
  Type type = op->getResult(0).getType(), lifted = liftedType(op, type);
  if (isElementwise(op))
    return liftElementwise(op);
  if (isa<ScaleOp, GateOp>(op)) {
    bool tokens = hasDim(lifted, kTokens);
    Value value = tokens ? getTokens(op->getOperand(0)) : get(op->getOperand(0));
    mapping.map(op->getResult(0), alg.mul(value, get(op->getOperand(1))));
  } else if (isa<ReadOp, DotOp, OuterOp, ContractOp>(op)) {
    mapping.map(op->getResult(0), liftProduct(op, op->getOperand(0), op->getOperand(1)));
  } else if (auto write = dyn_cast<WriteOp>(op)) {
    Value term = alg.contract(get(write.getX()), get(write.getY()), getDims(lifted));
    mapping.map(op->getResult(0), alg.add(hasDim(lifted, kTokens) ? getTokens(write.getState()) : get(write.getState()), term));
  } else if (auto broadcast = dyn_cast<BroadcastOp>(op)) {
    mapping.map(op->getResult(0), alg.broadcast(get(broadcast.getValue()), lifted));
  } else if (auto assume = dyn_cast<AssumeOp>(op)) {
    mapping.map(op->getResult(0), get(assume.getValue()));
  } else {
    // concat, flatten, index, max, rename, rotate, softmax, sum: the same on every row.
    SmallVector<Value> operands;
    for (Value operand : op->getOperands())
      operands.push_back(hasDim(lifted, kTokens) ? getTokens(operand) : get(operand));
    Operation *copy = builder.create(op->getLoc(), op->getName().getIdentifier(), operands, lifted, op->getAttrs());
    mapping.map(op->getResult(0), copy->getResult(0));
  }
}

void ChunkFormer::yield() {
  SmallVector<Value> outputs, carries, saved;
  for (Value output : source.getYield().getOutputs())
    outputs.push_back(getTokens(output));
  for (BlockArgument state : source.getStates())
    carries.push_back(nextCarry[state]);
  llvm::append_range(saved, target.getCarries());
  chunk::YieldOp::create(builder, source.getYield().getLoc(), outputs, carries, saved, ValueRange());
}

void ChunkFormer::run() {
  createProgram();
  for (Operation &op : source.getStep().without_terminator())
    liftOp(&op);
  yield();
}

namespace {
struct FormChunks : fla::impl::FormChunksBase<FormChunks> {
  void runOnOperation() override {
    for (fla::ProgramOp program : llvm::make_early_inc_range(getOperation().getOps<fla::ProgramOp>())) {
      ChunkFormer(program).run();
      program.erase();
    }
  }
};
} // namespace
