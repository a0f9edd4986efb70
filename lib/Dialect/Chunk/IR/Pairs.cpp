//===- Pairs.cpp - what a program does for each pair of tokens ------------===//
#include "fla/Dialect/Chunk/IR/Pairs.h"
#include "fla/Support/Dims.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace fla;
using namespace fla::chunk;

static bool isVector(Value gate) { return gate && getDims(gate).size() > hasDim(gate.getType(), kTokens); }

Pairs chunk::countPairs(ProgramOp program) {
  if (auto told = program->getAttrOfType<DenseI64ArrayAttr>(kPairsAttr); told && told.size() == 2)
    return {told[0], told[1]};
  Pairs pairs;
  program.walk([&](Operation *op) {
    llvm::TypeSwitch<Operation *>(op).Case<ScoreOp, ApplyOp, ApplyTransposedOp, SolveOp>([&](auto pair) {
      ++pairs.all;
      pairs.gated += isVector(pair.getGate());
    });
  });
  return pairs;
}
