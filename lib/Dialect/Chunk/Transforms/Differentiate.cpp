//===- Differentiate.cpp - reverse programs -------------------------------===//
//
//   chunk.program @f tokens(%q) carries(%S) -> (o, S, S)
//   ==> and
//   chunk.program @f_backward reverse tokens(%q, %d_o) carries(%d_S) saved(%S) -> (d_q, d_S)
//
// For examples see test/Dialect/Chunk/Transforms/differentiate.mlir.
//===----------------------------------------------------------------------===//
#include "ReverseRules.h"
#include "fla/Dialect/Chunk/IR/Pairs.h"
#include "fla/Dialect/Chunk/Transforms/Passes.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace fla;
using namespace fla::chunk;

namespace fla {
#define GEN_PASS_DEF_DIFFERENTIATE
#include "fla/Dialect/Chunk/Transforms/Passes.h.inc"
} // namespace fla

namespace {
/// Which programs of a definition read a value, by name. The gradient of a value
/// that several programs read comes in pieces, one from each: `d_x@program`.
class Readers {
public:
  explicit Readers(ArrayRef<chunk::ProgramOp> programs) {
    for (chunk::ProgramOp program : programs)
      for (unsigned i = 0; i < program.getNumTokens() + program.getNumParams(); ++i)
        readers[key(program, program.getArgName(i))].push_back(program);
  }
  std::string gradientName(StringRef value, chunk::ProgramOp program) const {
    auto it = readers.find(key(program, value));
    bool isOnly = it == readers.end() || it->second.size() == 1;
    return "d_" + value.str() + (isOnly ? "" : "@" + program.getSymName().str());
  }
  /// Names of the gradients that flow into an output; its readers', if it crosses.
  SmallVector<std::string> outputGradients(StringRef value, chunk::ProgramOp maker) const {
    SmallVector<std::string> names;
    if (auto it = readers.find(key(maker, value)); it != readers.end())
      for (chunk::ProgramOp program : it->second)
        names.push_back(gradientName(value, program));
    return names;
  }

private:
  static std::string key(chunk::ProgramOp program, StringRef value) {
    auto definition = program->getAttrOfType<StringAttr>("definition");
    return ((definition ? definition.getValue() : program.getSymName()) + ":" + value).str();
  }
  llvm::StringMap<SmallVector<chunk::ProgramOp>> readers;
};

class ReverseProgram {
public:
  ReverseProgram(chunk::ProgramOp forward, const Readers &readers, Operation *after)
      : forward(forward), readers(readers), builder(forward->getContext()), gradients(builder) {
    builder.setInsertionPointAfter(after);
  }
  LogicalResult build();

private:
  void createProgram();
  Value addArgument(Type type, const Twine &name, DictionaryAttr attrs = {});
  Value copyOf(BlockArgument arg) { return mapping.lookup(Value(arg)); }
  bool isDifferentiable(BlockArgument arg) { return !forward.getArgAttr(arg.getArgNumber()).contains("value"); }
  StringRef nameOf(BlockArgument arg) { return forward.getArgName(arg.getArgNumber()); }

  chunk::ProgramOp forward, reverse;
  const Readers &readers;
  OpBuilder builder;
  IRMapping mapping;
  Gradients gradients;
  SmallVector<Attribute> names, attrs, results;
  SmallVector<Value> carryGradients;
  SmallVector<SmallVector<Value>> outputGradients; ///< pieces to be added
};
} // namespace

Value ReverseProgram::addArgument(Type type, const Twine &name, DictionaryAttr attributes) {
  names.push_back(builder.getStringAttr(name));
  attrs.push_back(attributes ? attributes : builder.getDictionaryAttr({}));
  return reverse.getStep().addArgument(type, forward.getLoc());
}

/// Arguments: the forward ones, gradients of its outputs, gradients of its next
/// carries as carries, and what it saved of its carries.
void ReverseProgram::createProgram() {
  chunk::YieldOp yield = forward.getYield();
  for (BlockArgument arg : forward.getTokens())
    results.push_back(builder.getStringAttr(readers.gradientName(nameOf(arg), forward)));
  for (BlockArgument arg : forward.getCarries())
    results.push_back(builder.getStringAttr("d_" + nameOf(arg)));
  for (BlockArgument arg : forward.getParams())
    if (isDifferentiable(arg))
      results.push_back(builder.getStringAttr(readers.gradientName(nameOf(arg), forward)));
  reverse = chunk::ProgramOp::create(builder, forward.getLoc(), (forward.getSymName() + "_backward").str(), builder.getArrayAttr({}),
                                     builder.getArrayAttr({}), /*num_tokens=*/0, forward.getNumParams(), forward.getNumCarries(),
                                     builder.getArrayAttr(results), /*reverse=*/true);
  reverse->setDiscardableAttrs(forward->getDiscardableAttrDictionary());
  chunk::Pairs pairs = chunk::countPairs(forward);
  reverse->setAttr(chunk::kPairsAttr, builder.getDenseI64ArrayAttr({pairs.all, pairs.gated}));
  builder.createBlock(&reverse.getBody());
  auto copy = [&](BlockArgument arg) { mapping.map(Value(arg), addArgument(arg.getType(), nameOf(arg), forward.getArgAttr(arg.getArgNumber()))); };
  llvm::for_each(forward.getTokens(), copy);
  auto temp = builder.getDictionaryAttr(builder.getNamedAttr("temp", builder.getUnitAttr()));
  for (auto [i, output] : llvm::enumerate(yield.getTokens())) {
    SmallVector<Value> &pieces = outputGradients.emplace_back();
    for (const std::string &name : readers.outputGradients(forward.getResultName(i), forward))
      pieces.push_back(addArgument(output.getType(), name, temp));
    if (pieces.empty())
      pieces.push_back(addArgument(output.getType(), "d_" + forward.getResultName(i)));
  }
  reverse.setNumTokens(names.size());
  llvm::for_each(forward.getParams(), copy);
  for (BlockArgument arg : forward.getCarries())
    carryGradients.push_back(addArgument(arg.getType(), "d_" + nameOf(arg)));
  llvm::for_each(forward.getCarries(), copy);
  reverse.setArgNamesAttr(builder.getArrayAttr(names));
  reverse.setArgAttrsAttr(builder.getArrayAttr(attrs));
}

LogicalResult ReverseProgram::build() {
  createProgram();
  SmallVector<Operation *> copies;
  for (Operation &op : forward.getStep().without_terminator())
    copies.push_back(builder.clone(op, mapping));
  chunk::YieldOp yield = forward.getYield();
  for (auto [output, pieces] : llvm::zip(yield.getTokens(), outputGradients))
    for (Value gradient : pieces)
      gradients.add(mapping.lookup(output), gradient);
  for (auto [carry, gradient] : llvm::zip(yield.getCarries(), carryGradients))
    gradients.add(mapping.lookup(carry), gradient);
  for (Operation *op : llvm::reverse(copies))
    if (failed(gradients.propagate(op)))
      return failure();
  SmallVector<Value> tokens, carries, sums;
  for (BlockArgument arg : forward.getTokens())
    tokens.push_back(gradients.getOrZero(copyOf(arg)));
  for (BlockArgument arg : forward.getCarries())
    carries.push_back(gradients.getOrZero(copyOf(arg)));
  for (BlockArgument arg : forward.getParams())
    if (isDifferentiable(arg))
      sums.push_back(gradients.getOrZero(copyOf(arg)));
  chunk::YieldOp::create(builder, yield.getLoc(), tokens, carries, ValueRange(), sums);
  return success();
}

namespace {
struct Differentiate : fla::impl::DifferentiateBase<Differentiate> {
  using DifferentiateBase::DifferentiateBase;

  void runOnOperation() override {
    if (forward != "keep" && forward != "drop" && forward != "replay") {
      getOperation().emitError() << "expected forward = keep, drop or replay, got " << forward.getValue();
      return signalPassFailure();
    }
    SmallVector<chunk::ProgramOp> programs;
    for (auto program : getOperation().getOps<chunk::ProgramOp>())
      if (!program.getReverse())
        programs.push_back(program);
    if (programs.empty())
      return;
    // Reverse programs run in the opposite order.
    Readers readers(programs);
    Operation *last = programs.back();
    for (chunk::ProgramOp program : programs)
      if (failed(ReverseProgram(program, readers, last).build()))
        return signalPassFailure();
    // From the last one on: what a program hands to those that stay is made again.
    for (chunk::ProgramOp program : llvm::reverse(programs)) {
      if (forward == "drop" && !isRead(program))
        program.erase();
      else if (forward != "keep")
        program->setAttr("replay", UnitAttr::get(&getContext()));
    }
  }

  /// Whether another program reads one of its rows.
  bool isRead(chunk::ProgramOp maker) {
    llvm::StringSet<> made;
    for (unsigned i = 0; i < maker.getYield().getTokens().size(); ++i)
      made.insert(maker.getResultName(i));
    return llvm::any_of(getOperation().getOps<chunk::ProgramOp>(), [&](chunk::ProgramOp program) {
      return program != maker && llvm::any_of(program.getTokens(), [&](BlockArgument arg) {
               return program.getArgAttr(arg.getArgNumber()).contains("temp") && made.contains(program.getArgName(arg.getArgNumber()));
             });
    });
  }
};
} // namespace
