//===- Memory.cpp - loads and stores of the caller's buffers --------------===//
//
// A token buffer is read row by row, at most to the end of the sequence; rows
// past it are zero. Nothing outside the sequence is ever touched.
//
//===----------------------------------------------------------------------===//
#include "Lowering.h"

namespace fla::cpu {

/// How one tile lies in a buffer: `rows` rows `rowStride` apart, each with runs
/// of `run` contiguous elements, `runs` of them, `runStride` apart.
struct Lowering::Access {
  Value data, limit, rowStride;
  int64_t rows = 1, runs = 1, run = 1, runStride = 0;
  Type stored;
};

/// Rows of the chunk inside the sequence: min(numRows - chunk*C, C), at least 0.
Value Lowering::rowLimit(Value chunk) {
  Value left = e.sub(field(point, 3), e.mul(scalar(chunk), kernel.getChunk()));
  return e.max(e.min(left, e.index(kernel.getChunk())), e.index(0));
}

Lowering::Access Lowering::access(Value buffer, Value chunk, Type tileType) {
  auto type = cast<tile::BufferType>(buffer.getType());
  bool token = type.getKind() == tile::BufferKind::token;
  int64_t number = cast<BlockArgument>(buffer).getArgNumber();
  // Fields of Buffer: data, strideBatch, strideToken, strideHead, group.
  auto bufferField = [&](int64_t i) { return field(buffers, number * 5 + i); };
  Access a;
  a.stored = type.getElementType();
  a.data = e.load(e.at(buffers, number * 5, e.i64()), e.ptr(), 1);
  Value offset = e.index(0), head = {};
  if (type.getKind() != tile::BufferKind::value) {
    head = arith::DivSIOp::create(e.b, e.loc, field(point, 5), bufferField(4));
    offset = e.mul(head, bufferField(3));
  }
  switch (type.getKind()) {
  case tile::BufferKind::token: {
    Value row = e.add(field(point, 2), e.mul(scalar(chunk), kernel.getChunk()));
    a.rowStride = bufferField(2);
    offset = e.add(offset, e.add(e.mul(field(point, 1), bufferField(1)), e.mul(row, a.rowStride)));
    a.limit = rowLimit(chunk);
    a.rows = kernel.getChunk();
    break;
  }
  case tile::BufferKind::state:
    offset = e.add(offset, e.mul(field(point, 0), bufferField(1)));
    break;
  case tile::BufferKind::saved:
    offset = e.add(offset, e.mul(e.add(field(point, 4), scalar(chunk)), bufferField(1)));
    break;
  case tile::BufferKind::param:
  case tile::BufferKind::value:
    break;
  }
  ArrayRef<int64_t> shape;
  if (auto tensor = dyn_cast<RankedTensorType>(tileType))
    shape = token ? tensor.getShape().drop_front() : tensor.getShape();
  ArrayRef<int64_t> full = type.getShape();
  int64_t inner = 1, wide = 1;
  for (int64_t axis = shape.size() - 1; axis >= 0; --axis) {
    if (shape[axis] != full[axis]) {
      // The block's slice of this axis.
      offset = e.add(offset, e.mul(field(point, 6), shape[axis] * inner));
      a.run = inner * shape[axis];
      wide = inner * full[axis];
      for (int64_t before : shape.take_front(axis))
        a.runs *= before;
      a.runStride = wide;
      break;
    }
    inner *= shape[axis];
  }
  if (!a.runStride)
    a.run = inner;
  a.data = e.at(a.data, offset, a.stored);
  return a;
}

//===----------------------------------------------------------------------===//
// Fetching ahead
//===----------------------------------------------------------------------===//

/// 1 if the loop's next iteration is at the next chunk, -1 at the one before, else 0.
static int64_t direction(Value chunk, scf::ForOp loop) {
  if (chunk == loop.getInductionVar())
    return 1;
  auto mirrored = chunk.getDefiningOp<arith::SubIOp>();
  return mirrored && mirrored.getRhs() == loop.getInductionVar() ? -1 : 0;
}

/// A token's rows of one head lie far apart, where hardware does not prefetch, so
/// each load of the loop is given to a product with as many blocks as it has rows.
void Lowering::planFetches(scf::ForOp loop) {
  SmallVector<tile::DotOp> products(loop.getBody()->getOps<tile::DotOp>());
  auto *free = products.begin();
  for (auto load : loop.getBody()->getOps<tile::LoadOp>()) {
    auto type = dyn_cast<RankedTensorType>(load.getResult().getType());
    auto buffer = load.getBuffer().getType();
    bool rows = type && type.getRank() == 2 && buffer.getKind() == tile::BufferKind::token && type.getDimSize(1) == buffer.getShape().back();
    int64_t towards = rows ? direction(load.getChunk(), loop) : 0;
    if (!towards)
      continue;
    free = std::find_if(free, products.end(), [&](tile::DotOp dot) {
      return dot.getPairs() != tile::Pairs::level && dot.getPairs() != tile::Pairs::diagonal &&
             numBlocks(productOf(dot), e.vectorBytes) >= type.getDimSize(0);
    });
    if (free == products.end())
      return;
    fetches[*free++] = {load, towards};
  }
}

FetchedRows Lowering::fetchedRows(tile::DotOp dot, Product &p) {
  auto found = fetches.find(dot);
  if (found == fetches.end())
    return {};
  auto [load, towards] = found->second;
  Access a = access(load.getBuffer(), load.getChunk(), load.getResult().getType());
  p.fetchRows = a.rows;
  p.fetchBytes = a.run * Emitter::bytes(a.stored);
  Value first = e.at(a.data, e.mul(a.rowStride, towards * a.rows), a.stored);
  return {first, e.at(first, a.rowStride, a.stored)};
}

//===----------------------------------------------------------------------===//
// Loads and stores
//===----------------------------------------------------------------------===//

/// Calls `element(tile offset, address, width)` for all vectors inside the sequence.
void Lowering::transfer(Access &a, llvm::function_ref<void(Value, Value, int64_t)> element) {
  auto row = [&](Value r) {
    Value base = a.rowStride ? e.at(a.data, e.mul(r, a.rowStride), a.stored) : a.data;
    e.loop(0, a.runs, 1, [&](Value i) {
      Value from = e.at(base, e.mul(i, a.runStride), a.stored);
      Value to = e.mul(e.add(e.mul(r, a.runs), i), a.run);
      Type wide = a.stored.getIntOrFloatBitWidth() < 32 ? Type(e.b.getF32Type()) : a.stored;
      e.columns(a.run, wide, [&](Value j, int64_t width) { element(e.add(to, j), e.at(from, j, a.stored), width); });
    });
  };
  if (a.rowStride)
    e.loop(e.index(0), a.limit, row);
  else
    row(e.index(0));
}

static Value isPresent(Emitter &e, Value buffers, int64_t number) {
  Value data = e.load(e.at(buffers, number * 5, e.i64()), e.i64(), 1);
  return e.cmp(arith::CmpIPredicate::ne, data, e.index(0));
}

void Lowering::loadScalar(tile::LoadOp op) {
  int64_t number = cast<BlockArgument>(op.getBuffer()).getArgNumber();
  Type type = op.getResult().getType();
  auto read = scf::IfOp::create(
      e.b, e.loc, isPresent(e, buffers, number),
      [&](OpBuilder &, Location) {
        Access a = access(op.getBuffer(), op.getChunk(), type);
        scf::YieldOp::create(e.b, e.loc, e.convert(e.load(a.data, a.stored, 1), type));
      },
      [&](OpBuilder &, Location) { scf::YieldOp::create(e.b, e.loc, e.real(type, op.getAbsent().convertToDouble())); });
  define(op, read.getResult(0));
}

void Lowering::load(tile::LoadOp op) {
  auto type = dyn_cast<RankedTensorType>(op.getResult().getType());
  if (!type)
    return loadScalar(op);
  Tile to = memory(op.getResult());
  if (to.size() == 0)
    return;
  bool token = op.getBuffer().getType().getKind() == tile::BufferKind::token;
  int64_t rowSize = token ? to.size() / kernel.getChunk() : to.size();
  int64_t number = cast<BlockArgument>(op.getBuffer()).getArgNumber();
  e.when(
      isPresent(e, buffers, number),
      [&] {
        Access a = access(op.getBuffer(), op.getChunk(), type);
        transfer(a, [&](Value at, Value address, int64_t width) {
          e.store(e.convert(e.load(address, a.stored, width), to.element), e.at(to.base, at, to.element));
        });
      },
      [&] { e.fill(to.base, to.size(), e.real(to.element, op.getAbsent().convertToDouble())); });
  if (!token)
    return;
  Value zero = e.real(to.element, 0.0);
  e.loop(rowLimit(op.getChunk()), e.index(kernel.getChunk()),
         [&](Value r) { e.fill(e.at(to.base, e.mul(r, rowSize), to.element), rowSize, zero); });
}

void Lowering::store(tile::StoreOp op) {
  Value value = op.getValue();
  int64_t number = cast<BlockArgument>(op.getBuffer()).getArgNumber();
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (type && type.getNumElements() == 0)
    return;
  e.when(isPresent(e, buffers, number), [&] {
    Access a = access(op.getBuffer(), op.getChunk(), value.getType());
    if (!type)
      return e.store(e.convert(scalar(value), a.stored), a.data);
    Tile from = memory(value);
    transfer(a, [&](Value at, Value address, int64_t width) {
      e.store(e.convert(e.load(e.at(from.base, at, from.element), from.element, width), a.stored), address);
    });
  });
}

} // namespace fla::cpu
