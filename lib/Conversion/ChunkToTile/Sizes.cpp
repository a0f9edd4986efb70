//===- Sizes.cpp - the sizes that kernels are built for -------------------===//
#include "Sizes.h"
#include "fla/Dialect/Chunk/IR/SplitDim.h"
#include "fla/Support/Dims.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace fla;

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

LogicalResult fla::chooseSizes(chunk::ProgramOp program, const llvm::StringMap<int64_t> &given, llvm::StringMap<int64_t> &sizes) {
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

/// 64 tokens, or 32 for a forward `alone`, which reads no saved states and is
/// faster so; 16 where a solve meets vector gates, whose dyadic levels cost more
/// than the smaller chunk; fewer when a token has several rows that read the
/// state, or when values of a token are large (an elementwise matrix state).
int64_t fla::chooseChunk(chunk::ProgramOp program, const TileSizes &sizes, bool alone) {
  int64_t rows = 1;
  bool solves = false, vectorGate = false;
  program.walk([&](chunk::SolveOp solve) {
    solves = true;
    rows = std::max<int64_t>(rows, solve.getRows().size());
  });
  auto isVector = [](Value gate) { return gate && getDims(gate).size() > hasDim(gate.getType(), kTokens); };
  // A gate of one direction is a gate of the other, whichever operation carries
  // it there: both must choose the same chunk, since saved states belong to chunks.
  program.walk([&](Operation *op) {
    llvm::TypeSwitch<Operation *>(op).Case<chunk::ScoreOp, chunk::ApplyOp, chunk::ApplyTransposedOp, chunk::SolveOp>(
        [&](auto pair) { vectorGate |= isVector(pair.getGate()); });
  });
  int64_t most = vectorGate && solves ? 16 : alone ? 32 : 64;
  int64_t chunk = most / llvm::PowerOf2Ceil(rows);
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

void fla::chooseBlocks(ArrayRef<chunk::ProgramOp> programs, int64_t wanted, TileSizes &sizes) {
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
