//===- BodyConverter.h - operations of a chunk as tile operations -*- C++ -*-===//
#ifndef FLA_LIB_CONVERSION_CHUNKTOTILE_BODYCONVERTER_H
#define FLA_LIB_CONVERSION_CHUNKTOTILE_BODYCONVERTER_H

#include "TileAlgebra.h"
#include "fla/Dialect/Chunk/IR/Chunk.h"
#include "mlir/IR/IRMapping.h"

namespace fla {

/// Converts the operations of one chunk program, in order.
class BodyConverter {
public:
  BodyConverter(TileAlgebra &alg, mlir::Value chunkIndex) : alg(alg), chunkIndex(chunkIndex) {}

  void map(mlir::Value from, mlir::Value to) { mapping.map(from, to); }
  mlir::Value get(mlir::Value value) { return mapping.lookup(value); }
  mlir::LogicalResult convert(mlir::Operation *op);

private:
  mlir::Value convertElementwise(mlir::Operation *op);
  mlir::Value convertContract(ContractOp op);
  mlir::Value convertDot(ContractOp op);
  mlir::Value convertProductSum(ContractOp op);
  mlir::Value convertReduction(mlir::Operation *op, tile::ReduceKind kind);
  mlir::Value convertSoftmax(SoftmaxOp op);
  mlir::Value convertConcat(ConcatOp op);
  void convertSplit(SplitOp op);
  mlir::Value convertRotate(RotateOp op);
  mlir::Value convertRotateGrad(RotateGradOp op);
  mlir::Value convertIndex(IndexOp op);
  mlir::Value convertPlace(PlaceOp op);
  mlir::Value convertPad(chunk::PadOp op);
  mlir::Value convertValue(mlir::Operation *op);
  mlir::Value convertPairs(mlir::Operation *op);
  void convertSolve(chunk::SolveOp op);
  void convertScan(chunk::ScanOp op);
  void convertScanGrad(chunk::ScanGradOp op);

  mlir::Type typeOf(mlir::Value value) { return alg.getSizes().convert(value.getType()); }
  /// The gate with one value a token, or one a token and column.
  mlir::Value gateRows(mlir::Value gate);
  /// `value` repeated over the named dimensions of `like`.
  mlir::Value spread(mlir::Value value, mlir::Type like);

  TileAlgebra &alg;
  mlir::Value chunkIndex;
  mlir::IRMapping mapping;
};

} // namespace fla

#endif
