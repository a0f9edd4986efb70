//===- Lowering.h - the state of lowering one kernel to a GPU ---*- C++ -*-===//
//
// A tile is a list of registers: element i is what a thread holds in register i
// of the tile's layout. What other threads must see passes through shared memory
// (Shared.h). All threads of the block follow the same path; only loads and
// stores at the end of a sequence differ by thread.
//
//===----------------------------------------------------------------------===//
#ifndef FLA_LIB_TARGET_GPU_LOWERING_H
#define FLA_LIB_TARGET_GPU_LOWERING_H

#include "Shared.h"
#include "Target.h"

#include <array>

namespace fla::gpu {
using tile::Coordinates;
using tile::LinearLayout;
using Registers = SmallVector<Value>;

/// Coordinates of a thread's element: what its lane and warp add, and what the register adds.
struct Position {
  SmallVector<Value> thread; ///< i32 an axis
  Coordinates constant;
};

/// Whether a layout is made of 8x8 matrices as targets load them, whose rows lie along the axis `kept`.
bool isMadeOfMatrices(const LinearLayout &layout, int64_t kept);

/// The number of an element in row-major order, and the element of a number.
int64_t numberOf(const Coordinates &at, ArrayRef<int64_t> shape);
Coordinates placeOf(int64_t number, ArrayRef<int64_t> shape);

/// How a kernel multiplies: the storage type of operands in shared memory.
struct Operands {
  Type element;
  bool exact = false; ///< f32 operands keep all their bits
};

/// How a tile lies in a buffer: rows (of a token buffer) `rowStride` apart,
/// inner axes with static strides.
struct Access {
  Value base, rowStride, limit;
  Value origin;                 ///< where the sequence's part begins; `base` is the chunk's
  Value slotStride;             ///< from chunk to chunk, of saved values; else null
  SmallVector<int64_t> strides; ///< of each axis of the tile, 0 for the rows
  SmallVector<Value> extents;   ///< of each axis, i32, where the tile reaches beyond the buffer; else null
  int64_t whole = 0;            ///< neighbours along the last axis that end at its extent together
  Type stored;
  bool ofBlock = false; ///< the tile is a part of the buffer that no other block of columns has
};

class Lowering {
public:
  Lowering(tile::KernelOp kernel, LLVM::LLVMFuncOp function, const Target &target, int64_t warps, Operands operands, OpBuilder &builder);
  /// With `reuse` an operand of several products stays in shared memory between them; with `apart` what
  /// stays in a warp has memory that no other tile takes, and needs no barrier of the block.
  LogicalResult run(bool reuse, bool apart);
  int64_t sharedBytes() { return shared.finish(); }

private:
  // Values.
  ArrayRef<Value> registers(Value value);
  Value scalar(Value value);
  void define(Value value, Registers list) { values[value] = std::move(list); }
  LinearLayout layout(Value value) { return *tile::layoutOf(value.getType()); }
  Type elementOf(Value value) { return getElementTypeOrSelf(value.getType()); }
  Value i32(int64_t value);

  // Threads.
  ArrayRef<Value> threadPart(const LinearLayout &layout);
  Value warpPart(const LinearLayout &layout, int64_t axis);
  Value bits(Value number, ArrayRef<int32_t> coordinates);
  /// thread + constant, where their bits never meet, else their exclusive or.
  Value coordinate(const LinearLayout &layout, int64_t reg, int64_t axis);
  bool isDisjoint(const LinearLayout &layout, int64_t axis);
  /// Calls f for one thread of those that hold the same elements. Copies need not have the same bits (a backend may
  /// fuse a product into one of two sums that mirror each other), so that only one of them may be stored.
  void once(const LinearLayout &layout, llvm::function_ref<void()> f);

  // Structure.
  LogicalResult block(Block &block);
  LogicalResult operation(Operation *op);
  LogicalResult elementwise(Operation *op);
  LogicalResult forLoop(scf::ForOp op);
  LogicalResult constant(arith::ConstantOp op);
  Value compute(Operation *op, ValueRange operands, Type element);
  Value exponential(Value x);

  // The grid point.
  void gridPoint();
  void findSlot(Value slot);
  Value argument(Value buffer, int64_t field);
  Value launchArgument(int64_t number);

  // The caller's memory.
  Value isPresent(Value buffer);
  std::pair<Value, Value> divide(Value x, Value by);
  Value headOffset(Value buffer);
  Value isAligned(const Access &a, int64_t bytes);
  Value isWhole(const Access &a, const LinearLayout &layout);
  Access access(Value buffer, Value chunk, Type type);
  Value rowLimit(Value chunk);
  Value isInside(const Access &a, const LinearLayout &layout, int64_t reg);
  void load(tile::LoadOp op);
  void store(tile::StoreOp op);
  Registers loadRegisters(Access &a, const LinearLayout &layout, Type element, bool whole);
  void storeRegisters(Access &a, const LinearLayout &layout, ArrayRef<Value> list, bool whole);

  // Copies to shared memory.
  void alloc(tile::AllocOp op);
  struct Copy;
  Copy prepare(tile::CopyOp op);
  void copyAll(ArrayRef<tile::CopyOp> ops);
  void copyOne(const Copy &copy);
  void copyPieces(const Access &a, const SharedTile &to, int64_t bytes, bool whole);
  void copyElements(const Copy &copy);
  void wait();
  void read(tile::ReadOp op);
  SharedTile stageOf(Value room, Value stage);
  bool isReadInPlace(tile::ReadOp op, OpOperand &use);
  Registers readRegisters(const SharedTile &from, const LinearLayout &layout, Type element);

  // Tiles.
  void broadcast(tile::BroadcastOp op);
  void reduce(tile::ReduceOp op);
  Registers reduceAxis(tile::ReduceKind kind, const LinearLayout &from, int64_t axis, ArrayRef<Value> list);
  Value combine(tile::ReduceKind kind, Value x, Value y);
  void valid(tile::ValidOp op);
  Value isInBox(const LinearLayout &layout, int64_t reg, ArrayRef<int64_t> box);
  void inside(tile::InsideOp op);
  void reshapeBox(tile::ReshapeOp op);
  Registers convert(ArrayRef<Value> list, Type element, const LinearLayout &from, const LinearLayout &to);
  void transpose(tile::TransposeOp op);
  LogicalResult extractSlice(tensor::ExtractSliceOp op);
  LogicalResult insertSlice(tensor::InsertSliceOp op);
  void concat(tensor::ConcatOp op);
  void reshape(Value from, Value to);
  void extract(tensor::ExtractOp op);
  void fromElements(tensor::FromElementsOp op);

  // Products.
  void dot(tile::DotOp op);
  void dotWithAtoms(tile::DotOp op, const Atom &atom, bool swapped);
  void dotByElement(tile::DotOp op);
  Value isVisible(tile::Pairs pairs, int64_t level, Value token, Value past);
  std::optional<bool> atomOrientation(tile::DotOp op);
  SharedTile operand(Value value, Type element, bool transposed, tile::DotOp masked, const WarpAccesses &reads, bool rounded = false);
  struct Operand;
  WarpAccesses readsOf(const Operand &x);
  Operand operandOf(tile::DotOp op, const Atom &atom, bool left, bool swapped);
  SmallVector<Value> fragmentInRegisters(const Operand &x, int64_t onKept, int64_t onSummed);
  SmallVector<Value> fragmentInMemory(const Operand &x, int64_t onKept, int64_t onSummed);
  /// Calls f(address, first, count, transposed) for groups of up to four 8x8 matrices at byte offsets from `start`.
  void forMatrices(const SharedTile &tile, Value start, int64_t rowStride, ArrayRef<int64_t> offsets,
                   llvm::function_ref<void(Value, size_t, int64_t)> f);
  SmallVector<Value> loadMatrices(const SharedTile &from, Value start, int64_t rowStride, ArrayRef<int64_t> offsets, bool transposed);
  void loadFragments(const Operand &x, ArrayRef<int64_t> onKept, int64_t onSummed, MutableArrayRef<SmallVector<Value>> fragments);
  DenseMap<int64_t, SmallVector<Value>> fragmentsAt(const Operand &x, ArrayRef<int64_t> onKept, int64_t onSummed);

  // Along the tokens.
  void cumsum(tile::CumSumOp op);
  void segsum(tile::SegSumOp op);
  void segsumGrad(tile::SegSumGradOp op);
  void levelDecay(tile::LevelDecayOp op);
  void levelDecayGrad(tile::LevelDecayGradOp op);
  void scan(tile::ScanOp op);
  void scanGrad(tile::ScanGradOp op);

  // Sums over aligned blocks of tokens.
  class BlockSums;
  Registers sumTokens(const LinearLayout &layout, ArrayRef<Value> list, int64_t bits, llvm::function_ref<void(BlockSums &)> start);
  /// Where a bit of a token's number is.
  struct TokenBit {
    enum Kind { Register, Lane, Warp } kind;
    int64_t index; ///< of the bit in the register's, the lane's or the warp's number
  };
  SmallVector<TokenBit> tokenBits(const LinearLayout &layout);
  Value isSet(const LinearLayout &layout, const TokenBit &bit, int64_t reg);
  /// Of each element the one whose token's number differs in one bit; null elements stay null.
  Registers partners(const LinearLayout &layout, const TokenBit &bit, ArrayRef<Value> list);
  std::function<Value(Value ofWarp, int64_t number)> showToWarps(ArrayRef<Value> list, int64_t alike);
  std::array<SharedTile, 2> sumsToMiddles(Value gate, bool pre, const std::array<WarpAccesses, 2> &reads);
  Value levelOf(const LinearLayout &held, int64_t reg, Value t, Value s, int64_t row);
  SharedTile sumsOfPairs(const SharedTile &pairs);

  // The triangular inverse.
  void inverse(tile::InverseOp op);
  struct BlockOf;
  Value offsetIn(const BlockOf &block, Value pair, Value row, Value column);
  void solveBlocks(const SharedTile &m, int64_t block);
  void multiplyBlocks(const Atom &atom, int64_t pairs, int64_t size, const BlockOf &a, const BlockOf &b, const BlockOf &to);
  void multiplyBlocks(int64_t pairs, int64_t size, const BlockOf &a, const BlockOf &b, const BlockOf &to);

  // Shared memory.
  void write(ArrayRef<Value> list, const LinearLayout &layout, const SharedTile &to, bool transposed);
  void writeMatrices(ArrayRef<Value> list, const LinearLayout &layout, const SharedTile &to, bool transposed);
  void writePieces(ArrayRef<Value> list, const LinearLayout &layout, const SharedTile &to, bool transposed);
  Value packed(ArrayRef<Value> list, int64_t first, int64_t count, Type element);
  /// A tile in shared memory; its rows are padded for how it is written and for how `reads` read it.
  SharedTile stage(ArrayRef<Value> list, const LinearLayout &layout, Type element, WarpAccesses reads, bool transposed = false);
  SharedTile stagePadded(ArrayRef<Value> list, const LinearLayout &layout, Type element, Padding padding, bool transposed = false);
  int64_t runOfPieces(const LinearLayout &layout, Type element, bool transposed);
  bool writesMatrices(const LinearLayout &layout, Type element);
  bool readsMatrices(const LinearLayout &layout, Type element);
  void addWrites(WarpAccesses &accesses, const LinearLayout &layout, Type element, bool transposed);
  void addReads(WarpAccesses &accesses, const LinearLayout &layout, Type element);
  /// Single elements, that at `x` from `place(x)`.
  WarpAccesses gathers(const LinearLayout &layout, Type element, WarpAccesses::Place place);
  /// Registers of `layout` whose element at `coordinates` is at `index(coordinates)` of `from`.
  Registers gather(const SharedTile &from, const LinearLayout &layout, llvm::function_ref<SmallVector<Value>(ArrayRef<Value>)> index);

  tile::KernelOp kernel;
  LLVM::LLVMFuncOp function;
  const Target &target;
  int64_t warps;
  Operands operands;
  Emitter e;
  Shared shared;
  Value thread, lane, warp;
  Value sequence, batch, firstRow, numRows, firstSlot, head, blockOfColumns, chunkOfGrid;
  DenseMap<Value, Registers> values;
  DenseMap<Value, Value> headOffsets;
  DenseMap<Attribute, SmallVector<Value>> threadParts;
  /// Operands of products that are in shared memory already, by value, type, orientation and mask.
  DenseMap<std::tuple<Value, Type, int64_t>, SharedTile> staged;
  DenseMap<Value, SharedTile> rooms; ///< of tile.alloc, all stages
  /// Tiles that copies brought to shared memory as they are stored.
  DenseMap<Value, SharedTile> copied;
  bool reuse = true, apart = true;
};

} // namespace fla::gpu

#endif
