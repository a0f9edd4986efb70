//===- Pipelines.cpp - the phases, in order -------------------------------===//
#include "fla/Pipelines/Pipelines.h"
#include "fla/Conversion/ChunkToTile/Passes.h"
#include "fla/Conversion/FLAToChunk/Passes.h"
#include "fla/Dialect/Chunk/IR/Chunk.h"
#include "fla/Dialect/Chunk/Transforms/Passes.h"
#include "fla/Dialect/FLA/IR/FLA.h"
#include "fla/Dialect/FLA/Transforms/Passes.h"
#include "fla/Dialect/Tile/IR/Tile.h"
#include "fla/Dialect/Tile/Transforms/Passes.h"

using namespace mlir;
using namespace fla;

void fla::registerDialects(DialectRegistry &registry) {
  registry.insert<FLADialect, chunk::ChunkDialect, tile::TileDialect, arith::ArithDialect, math::MathDialect, scf::SCFDialect,
                  tensor::TensorDialect>();
}
void fla::registerPasses() {
  registerFLAPasses();
  registerFLAToChunkPasses();
  registerChunkPasses();
  registerChunkToTilePasses();
  registerTilePasses();
}
