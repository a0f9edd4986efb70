//===- TokenTiles.h - tiles that are better held by tokens ------*- C++ -*-===//
//
// Sums along the tokens cost one addition a number where a thread has many neighbouring
// tokens of a channel, and an exchange between lanes for each level where it has
// not. So tiles that such sums and elementwise work join are held by tokens together,
// unless too many would have to change threads: what products give or begin their sums
// with, and what loops carry.
//
//===----------------------------------------------------------------------===//
#ifndef FLA_LIB_DIALECT_TILE_TRANSFORMS_TOKENTILES_H
#define FLA_LIB_DIALECT_TILE_TRANSFORMS_TOKENTILES_H

#include "fla/Dialect/Tile/IR/Tile.h"

namespace fla::tile {

class TokenTiles {
public:
  using Predicate = std::function<bool(mlir::Value)>;
  /// Chooses among the tiles that may be held by tokens.
  TokenTiles(KernelOp kernel, Predicate mayHold);
  bool contains(mlir::Value value) const { return chosen.contains(value); }

private:
  bool isJoined(mlir::Operation *op) const;
  mlir::Value leader(mlir::Value value) const;
  void join(mlir::Operation *op);
  void weigh(mlir::Operation *op);
  void chooseSource(mlir::Operation *op);

  Predicate mayHold;
  mutable llvm::DenseMap<mlir::Value, mlir::Value> parents;
  llvm::DenseMap<mlir::Value, int64_t> gains; ///< of a leader's tiles: exchanges saved, less tiles that change threads
  llvm::DenseSet<mlir::Value> chosen;
};

} // namespace fla::tile

#endif
