//===- Grid.cpp - which sequence, head and chunk a block works on ---------===//
//
// Parameters: for each buffer data, batch stride, token stride, head stride and
// the heads of the launch that share one of its heads; then tokens, heads,
// sequences, the offsets of packed sequences (null when they are not packed), the
// states' indices (null when sequence n has state n) and the number of states.
// Offsets are clamped to the tokens, and a sequence whose index is no state's is
// skipped: whatever they hold, nothing outside the caller's tensors is touched.
//
//===----------------------------------------------------------------------===//
#include "Lowering.h"

namespace fla::gpu {

/// A skipped sequence has no states, as if the caller had left them out.
Value Lowering::argument(Value buffer, int64_t field) {
  Value value = function.getArgument(5 * cast<BlockArgument>(buffer).getArgNumber() + field);
  if (field != 0 || cast<tile::BufferType>(buffer.getType()).getKind() != tile::BufferKind::state)
    return value;
  Value isSkipped = e.cmp(arith::CmpIPredicate::slt, sequence, e.index(0));
  return e.select(isSkipped, LLVM::ZeroOp::create(e.b, e.loc, value.getType()), value);
}

/// 0 tokens, 1 heads, 2 sequences, 3 offsets, 4 state indices, 5 states.
Value Lowering::launchArgument(int64_t number) { return function.getArgument(5 * kernel.getBody().getNumArguments() + number); }

static Value isGiven(Emitter &e, Value pointer) {
  Value address = LLVM::PtrToIntOp::create(e.b, e.loc, e.i64(), pointer);
  return e.cmp(arith::CmpIPredicate::ne, address, e.index(0));
}

/// Row at which sequence n begins, in the flattened batch.
static Value startOf(Emitter &e, Value n, Value tokens, Value offsets) {
  auto start = scf::IfOp::create(
      e.b, e.loc, isGiven(e, offsets),
      [&](OpBuilder &, Location) {
        Value row = e.load(e.at(offsets, n, e.i64()), e.i64(), 1);
        scf::YieldOp::create(e.b, e.loc, e.max(e.min(row, tokens), e.index(0)));
      },
      [&](OpBuilder &, Location) { scf::YieldOp::create(e.b, e.loc, e.mul(n, tokens)); });
  return start.getResult(0);
}

/// The state of sequence n: its own, or the one that its index names; -1 if that is none.
static Value stateOf(Emitter &e, Value n, Value indices, Value states) {
  auto state = scf::IfOp::create(
      e.b, e.loc, isGiven(e, indices),
      [&](OpBuilder &, Location) {
        Value index = e.load(e.at(indices, n, e.i64()), e.i64(), 1);
        Value isState = e.cmp(arith::CmpIPredicate::ult, index, states);
        scf::YieldOp::create(e.b, e.loc, e.select(isState, index, e.index(-1)));
      },
      [&](OpBuilder &, Location) { scf::YieldOp::create(e.b, e.loc, n); });
  return state.getResult(0);
}

/// The sequence that owns a chunk slot: the last one whose first slot is not beyond it.
void Lowering::findSlot(Value slot) {
  Value tokens = launchArgument(0), offsets = launchArgument(3);
  SmallVector<Value> bounds{e.index(0), e.add(launchArgument(2), -1)};
  // Each turn halves the sequences that are left.
  Value last = e.add(launchArgument(2), -1);
  Value turns = e.sub(e.index(64), math::CountLeadingZerosOp::create(e.b, e.loc, last));
  auto found = e.loop(e.index(0), turns, 1, bounds, [&](Value, ValueRange range) {
    Value middle = arith::ShRUIOp::create(e.b, e.loc, e.add(e.add(range[0], range[1]), 1), e.index(1));
    Value first =
        e.add(arith::DivUIOp::create(e.b, e.loc, startOf(e, middle, tokens, offsets), e.index(kernel.getChunk() * kernel.getSpan())), middle);
    Value owns = e.cmp(arith::CmpIPredicate::sle, first, slot);
    return SmallVector<Value>{e.select(owns, middle, range[0]), e.select(owns, range[1], e.add(middle, -1))};
  });
  sequence = found[0];
}

void Lowering::gridPoint() {
  Value tokens = launchArgument(0), heads = launchArgument(1), offsets = launchArgument(3);
  Value task = arith::ExtUIOp::create(e.b, e.loc, e.i64(), target.blockIndex(e));
  auto split = [&](Value divisor) {
    auto [quotient, rest] = divide(task, divisor);
    task = quotient;
    return rest;
  };
  blockOfColumns = split(e.index(kernel.getBlocks()));
  head = split(heads);
  if (kernel.getOverChunks())
    findSlot(task);
  else
    sequence = task;
  Value start = startOf(e, sequence, tokens, offsets), packed = isGiven(e, offsets);
  Value own = sequence;
  auto first = [&](int64_t tokens) { return e.add(arith::DivUIOp::create(e.b, e.loc, start, e.index(tokens)), own); };
  firstSlot = first(kernel.getChunk());
  batch = e.select(packed, e.index(0), sequence);
  firstRow = e.select(packed, start, e.index(0));
  auto rows = scf::IfOp::create(
      e.b, e.loc, packed,
      [&](OpBuilder &, Location) {
        Value end = e.load(e.at(offsets, e.add(sequence, 1), e.i64()), e.i64(), 1);
        scf::YieldOp::create(e.b, e.loc, e.sub(e.max(e.min(end, tokens), start), start));
      },
      [&](OpBuilder &, Location) { scf::YieldOp::create(e.b, e.loc, tokens); });
  // From here on the sequence is known by its state.
  sequence = stateOf(e, sequence, launchArgument(4), launchArgument(5));
  Value isSkipped = e.cmp(arith::CmpIPredicate::slt, sequence, e.index(0));
  numRows = e.select(isSkipped, e.index(0), rows.getResult(0));
  if (kernel.getOverChunks())
    chunkOfGrid = e.mul(e.sub(task, first(kernel.getChunk() * kernel.getSpan())), kernel.getSpan());
}

} // namespace fla::gpu
