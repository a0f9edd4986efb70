//===- Lowering.h - the state of lowering one kernel ------------*- C++ -*-===//
#ifndef FLA_LIB_TARGET_CPU_LOWERING_H
#define FLA_LIB_TARGET_CPU_LOWERING_H

#include "../Common/Emitter.h"
#include "Plan.h"

#include "llvm/ADT/StringMap.h"

namespace fla::cpu {
using namespace codegen;

/// A product of static sizes: c(m,n) = sum_k a(m,k) b(k,n) with
/// a(m,k) = A[m*aRow + k*aColumn], b likewise, c(m,n) = C[m*cRow + n].
struct Product {
  /// Which entries count: those of the result (`result*`: n <= m - strict) or
  /// of a (`lower`: k <= m - strict, `upper`: m <= k - strict).
  enum Shape { full, resultLower, lower, upper };
  int64_t m, n, k, aRow, aColumn, bRow, bColumn, cRow;
  Shape shape = full;
  bool strict = false;
  Type element;
  bool accumulate = false; ///< c += instead of c =; not with resultLower
  /// Rows, of so many bytes, of something else that the product asks the memory for meanwhile.
  int64_t fetchRows = 0, fetchBytes = 0;
  std::string name() const;
  int64_t scratchBytes(int64_t lanes) const;
};

/// The private functions of a module, made when first needed.
class Functions {
public:
  explicit Functions(ModuleOp module) : module(module) {}
  /// The function `name(pointers...)`; `emit` fills its body when it is new.
  LLVM::LLVMFuncOp get(Location loc, StringRef name, unsigned pointers, llvm::function_ref<void(OpBuilder &, ValueRange)> emit);
  /// A constant array in memory.
  Value constant(Emitter &e, DenseElementsAttr values);

private:
  ModuleOp module;
  llvm::StringMap<LLVM::LLVMFuncOp> functions;
  int64_t constants = 0;
};

/// The product of a tile.dot over all of its operands.
Product productOf(tile::DotOp op);
/// The first two rows of what a product fetches.
struct FetchedRows {
  Value first, second;
};
/// Blocks of C that the product computes one after the other: each fetches a row.
int64_t numBlocks(const Product &p, int64_t vectorBytes);
/// Calls the function for `p`, making it when it is new.
void emitProduct(Emitter &e, Functions &functions, const Product &p, Value a, Value b, Value c, Value scratch, FetchedRows fetched = {});
/// Swaps rows and columns of a rows x columns matrix.
void emitTranspose(Emitter &e, Tile from, Tile to);
/// Reads a `size` x `size` block (rows `rowStride` apart) and returns its columns.
SmallVector<Value> loadTransposed(Emitter &e, Value base, int64_t rowStride, Type element, int64_t size);

/// Where a pointwise value is computed: the element at `index`, and the
/// `width - 1` ones after it along the last axis.
struct Spot {
  SmallVector<Value> index;
  int64_t width = 1;
  bool flat = false;                      ///< one index for all axes
  const DenseMap<Value, Value> *row = nullptr; ///< broadcasts known for this row
};

class Lowering {
public:
  Lowering(tile::KernelOp kernel, LLVM::LLVMFuncOp function, Functions &functions, OpBuilder &builder, int64_t vectorBytes);
  LogicalResult run();
  int64_t workspaceBytes() const { return plan.bytes() + scratchBytes; }

private:
  // Values.
  Tile memory(Value value);
  Value scalar(Value value);
  void define(Value value, Value lowered) { scalars[value] = lowered; }
  Value scratch(int64_t bytes);
  Value field(Value base, int64_t index);

  // Structure.
  LogicalResult block(Block &block);
  LogicalResult operation(Operation *op);
  LogicalResult forLoop(scf::ForOp op);
  void yield(scf::ForOp loop);
  LogicalResult scalarOp(Operation *op);

  // Pointwise values.
  void materialise(Value value, Tile to);
  void moveTo(Value value, Value home);
  bool isElsewhere(Value value, Value home);
  void materialiseRow(Value value, Tile to, SmallVector<Value> &outer);
  bool isFlat(Value value);
  void collectRow(Value value, ArrayRef<Value> outer, DenseMap<Value, Value> &row, bool root = false);
  Value evaluate(Value value, const Spot &spot);
  Value compute(Value value, const Spot &spot);
  Value evaluateBroadcast(Value operand, ArrayRef<int64_t> axes, Value result, const Spot &spot);
  Value evaluateValid(tile::ValidOp op, const Spot &spot);
  bool computesHere(Value value);
  void reduce(tile::ReduceOp op);
  Value reduceRow(tile::ReduceOp op, SmallVector<Value> outer);
  void reduceColumns(tile::ReduceOp op, SmallVector<Value> &outer, unsigned axis, Tile to);

  // Memory.
  struct Access;
  Access access(Value buffer, Value chunk, Type tileType);
  void planFetches(scf::ForOp loop);
  FetchedRows fetchedRows(tile::DotOp dot, Product &p);
  void transfer(Access &a, llvm::function_ref<void(Value, Value, int64_t)> element);
  void load(tile::LoadOp op);
  void loadScalar(tile::LoadOp op);
  void store(tile::StoreOp op);
  Value rowLimit(Value chunk);

  // Tiles.
  void dot(tile::DotOp op);
  void levelDot(tile::DotOp op, Product p);
  void smallLevelDot(tile::DotOp op);
  void diagonalDot(tile::DotOp op);
  void inverse(tile::InverseOp op);
  void cumsum(tile::CumSumOp op);
  void segsum(tile::SegSumOp op);
  void segsumGrad(tile::SegSumGradOp op);
  void levelDecay(tile::LevelDecayOp op);
  void levelDecayGrad(tile::LevelDecayGradOp op);
  void scan(tile::ScanOp op);
  void scanGrad(tile::ScanGradOp op);
  Value initialRow(Value initial, Value column, int64_t width);
  void lastRow(Value last, Value column, Value value);

  // The tensor dialect.
  LogicalResult extractSlice(tensor::ExtractSliceOp op);
  LogicalResult insertSlice(tensor::InsertSliceOp op);
  void concat(tensor::ConcatOp op);
  void copySlice(Tile whole, Tile part, ArrayRef<int64_t> starts, ArrayRef<int64_t> strides, ArrayRef<Value> dynamic, bool toPart);

  tile::KernelOp kernel;
  LLVM::LLVMFuncOp function;
  Functions &functions;
  Emitter e;
  Plan plan;
  Value buffers, point, workspace;
  DenseMap<Value, Value> scalars;
  DenseMap<Value, Value> pointers; ///< constant arrays
  /// The load whose next tile a product fetches, and where that chunk lies (1 or -1).
  DenseMap<Operation *, std::pair<tile::LoadOp, int64_t>> fetches;
  int64_t scratchBytes = 0;
};

} // namespace fla::cpu

#endif
