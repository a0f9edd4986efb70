//===- SplitDim.cpp - may a dimension be cut into blocks? -----------------===//
#include "fla/Dialect/Chunk/IR/SplitDim.h"
#include "fla/Support/Dims.h"

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

bool chunk::needsWhole(Operation *op, StringRef dim) {
  auto mixes = [&](Value value) { return mentions(value, dim); };
  if (llvm::any_of(op->getOperands(), mixes) || llvm::any_of(op->getResults(), mixes))
    return true;
  auto has = [&](Value value) { return hasDim(value.getType(), dim); };
  return llvm::any_of(op->getOperands(), has) &&
         (!llvm::all_of(op->getResults(), has) || isa<SoftmaxOp, RotateOp, ConcatOp, IndexOp>(op));
}

StringRef chunk::columnDim(ProgramOp program) {
  for (Value carry : program.getCarries())
    if (getDims(carry).size() == 2)
      return getDims(carry).back().getValue();
  return {};
}

bool chunk::isSplittable(ProgramOp program, StringRef dim) {
  auto has = [&](Value value) { return hasDim(value.getType(), dim); };
  return !dim.empty() && llvm::all_of(program.getYield().getTokens(), has) && llvm::all_of(program.getYield().getCarries(), has) &&
         llvm::none_of(program.getStep().without_terminator(), [&](Operation &op) { return needsWhole(&op, dim); });
}
