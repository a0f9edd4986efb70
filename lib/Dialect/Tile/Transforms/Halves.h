//===- Halves.h - where a kernel over chunks is best divided ----*- C++ -*-===//
//
// Work, that is what is not light enough to be done twice, is assigned to the first or the second of two
// kernels, so that none of the first reads what the second gives. What this costs is memory traffic:
//
//   2 * (what the second reads of the first's work, written and read) + what both load
//
// The search starts from the order that is there and moves one piece of work at a time, the one that
// costs least, though it may cost more than before; the best assignment seen stays (Fiduccia and
// Mattheyses, A Linear-Time Heuristic for Improving Network Partitions, 1982).
//===----------------------------------------------------------------------===//
#ifndef FLA_LIB_DIALECT_TILE_TRANSFORMS_HALVES_H
#define FLA_LIB_DIALECT_TILE_TRANSFORMS_HALVES_H

#include "Fission.h"
#include "llvm/ADT/BitVector.h"
#include "llvm/ADT/SetVector.h"

namespace fla::tile {

class Halves {
public:
  explicit Halves(KernelOp kernel);
  /// Instructions of a thread that the kernel takes, by estimate.
  int64_t instructions() const { return text; }
  /// Most numbers of tiles that a thread holds at once, in an order that holds few; loads are not counted.
  int64_t numbersHeld() const;
  /// False if each division leaves one of them more than three quarters of the text; two thirds are sought first.
  bool find();

  /// Whether the first kernel does this work.
  bool isFirst(mlir::Operation *op) const;
  /// What the first stores for the second, in order.
  llvm::SmallVector<mlir::Value> stored();
  /// In which type.
  mlir::Type storedType(mlir::Value value) const;
  int64_t storedBytes() const { return best.bytes; }

private:
  using Number = unsigned; ///< of an operation of the kernel's block
  struct Node {
    mlir::Operation *op;
    llvm::SmallVector<Number, 4> operands;       ///< what it reads
    llvm::SmallVector<Number, 4> needs, readers; ///< work, with light work between
    bool isWork = false, storable = false;
    int64_t text = 0, bytes = 0; ///< bytes to store its results, or that it loads
  };
  /// An assignment of work, and what it costs.
  struct Cut {
    llvm::BitVector second; ///< by number
    int64_t bytes = 0;      ///< stored
    int64_t excess = 0;     ///< text beyond the limit in one of them
    int64_t cost = 0;
    bool operator<(const Cut &other) const { return std::tie(excess, cost) < std::tie(other.excess, other.cost); }
  };

  void addNode(mlir::Operation &op);
  bool canMove(const Cut &cut, Number n) const;
  bool isOfFirst(const Cut &cut, Number n) const;
  void need(const Cut &cut, Number n);
  void needAgain(Number n);
  void chooseStored();
  void needFirst(Number n);
  void evaluate(Cut &cut);
  Cut startAt(int64_t firstText);
  Cut improved(Cut cut);

  KernelOp kernel;
  mlir::Type operands;
  std::vector<Node> nodes;
  llvm::DenseMap<mlir::Operation *, Number> numbers;
  llvm::SmallVector<Number> works;
  int64_t text = 0, limit = 0; ///< of the whole, of a half
  Cut best;
  llvm::BitVector isNeeded, isStored, isInFirst; ///< of the cut evaluated last: needed in the second or stored for it, done in the first
  llvm::SmallSetVector<Number, 16> shared;       ///< light work that either could do
};

} // namespace fla::tile

#endif
