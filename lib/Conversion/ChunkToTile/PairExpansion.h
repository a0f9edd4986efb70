//===- PairExpansion.h - pairs of tokens as dots ----------------*- C++ -*-===//
//
// A decay between tokens t and s is evaluated by what the gate is:
//   none     a masked dot
//   scalar   a masked dot times exp(segment sums), one table a chunk
//   vector   a dyadic tree: at level h, the right-half rows of each block of 2h
//            tokens carry the decay since its middle, the left-half rows the
//            decay up to it, so no exponent is positive; h = 1, 2, .., C/2
//
//===----------------------------------------------------------------------===//
#ifndef FLA_LIB_CONVERSION_CHUNKTOTILE_PAIREXPANSION_H
#define FLA_LIB_CONVERSION_CHUNKTOTILE_PAIREXPANSION_H

#include "TileAlgebra.h"

namespace fla {

class PairExpansion {
public:
  /// `gate` is null, one value a token, or one a token and column.
  PairExpansion(TileAlgebra &alg, mlir::Value gate, bool pre, bool strict) : alg(alg), gate(gate), pre(pre), strict(strict) {}

  mlir::Value score(mlir::Value b, mlir::Value x);
  mlir::Value apply(mlir::Value p, mlir::Value x) { return product(p, x, false); }
  mlir::Value applyTransposed(mlir::Value p, mlir::Value b) { return product(p, b, true); }
  mlir::Value gateGrad(mlir::Value p, mlir::Value b, mlir::Value x);

private:
  int64_t chunk() const { return alg.getSizes().chunk; }
  bool isVector() const { return gate && shapeOf(gate).size() == 2; }
  /// A single token sees at most itself, undecayed.
  bool isTrivial() const { return chunk() == 1; }
  tile::Pairs pairs() const { return strict ? tile::Pairs::strict : tile::Pairs::causal; }
  mlir::Value table();
  mlir::Value levelFactor(int64_t level);
  mlir::Value product(mlir::Value p, mlir::Value x, bool transposed);

  TileAlgebra &alg;
  mlir::Value gate;
  bool pre, strict;
};

/// Y = R + M Y for n rows a token, or its transpose; see chunk.solve.
llvm::SmallVector<mlir::Value> expandSolve(TileAlgebra &alg, mlir::ValueRange scores, mlir::ValueRange rows, mlir::Value gate, bool transposed);

} // namespace fla

#endif
