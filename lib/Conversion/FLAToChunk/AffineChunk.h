//===- AffineChunk.h - the chunk form of a matrix state ---------*- C++ -*-===//
#ifndef FLA_LIB_CONVERSION_FLATOCHUNK_AFFINECHUNK_H
#define FLA_LIB_CONVERSION_FLATOCHUNK_AFFINECHUNK_H

#include "fla/Dialect/Chunk/IR/Chunk.h"
#include "fla/Dialect/FLA/IR/Algebra.h"

namespace fla {

/// A per-token type as a type over the tokens of a chunk.
mlir::Type withTokens(mlir::Type type);
/// Repeats a value that is the same for all tokens.
mlir::Value addTokens(mlir::OpBuilder &builder, mlir::Value value);
/// Neutral rows past the sequence's end.
mlir::Value pad(Algebra &alg, mlir::Value value, double neutral);

/// Derives the chunk form of one `fla.affine` (MATH: the chunk form). With
/// rows x, y of the state S and row reads b:
///   M[w][w'] = scores of b_w with x_w'        Y = V + (b e^prefix) S + M Y
///   O = (q e^prefix) S + P Y                  S' = e^total S + (x e^suffix)^T Y
/// A column gate stands around the products of Y.
class AffineChunk {
public:
  using Lookup = llvm::function_ref<mlir::Value(mlir::Value)>;
  AffineChunk(mlir::OpBuilder &builder, AffineOp op, Lookup lookup);

  /// Returns the next state; answers are then available.
  mlir::Value run();
  llvm::ArrayRef<mlir::Value> getAnswers() const { return answers; }

private:
  /// A gate and the factors that it implies; null where there is none.
  struct Gate {
    mlir::Value perPair;  ///< for scores: as given, or padded
    mlir::Value padded;   ///< one value a token, 0 past the end
    mlir::Value prefix(Algebra &alg, bool pre) const;
    mlir::Value suffix(Algebra &alg) const;
    mlir::Value total(Algebra &alg) const;
  };
  Gate makeGate(mlir::Value gate);
  mlir::Value score(mlir::Value b, mlir::Value x, const Gate &gate, int64_t version, int64_t row);
  mlir::Value apply(mlir::Value p, mlir::Value y, const Gate &gate, bool pre, bool strict);
  mlir::Value readState(mlir::Value query, const Gate &inner, const Gate &outer, bool pre, mlir::StringAttr result);
  void solveRows();
  mlir::Value answer(unsigned i);
  mlir::Value update();

  mlir::OpBuilder &builder;
  AffineOp op;
  Algebra alg;
  mlir::Value state;
  mlir::StringAttr tokens, rowDim, columnDim;
  Gate rowGate, columnGate;
  llvm::SmallVector<mlir::Value> xs, values, reads, queries, ys, answers;
};

} // namespace fla

#endif
