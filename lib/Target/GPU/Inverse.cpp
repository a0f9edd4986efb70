//===- Inverse.cpp - the triangular inverse -------------------------------===//
//
// X = (I - M)^-1 in shared memory, in M's place. Blocks of 16 on the diagonal are
// solved by substitution, all columns at once; then neighbours X1 and X2, with M21
// below X1, become one block of twice the size:
//
//   ( X1              )
//   ( X2 M21 X1    X2 )      two products of small matrices, all pairs at once.
//
// These are products of f32: exact ones where the matrix unit has them, or the sum of
// three products of tf32 parts (x = high + low), or sums by element.
//
//===----------------------------------------------------------------------===//
#include "Lowering.h"

namespace fla::gpu {

/// Rows and columns of the blocks that substitution solves.
static constexpr int64_t kSolved = 16;

/// A matrix of blocks in shared memory: where block (0, 0) of each pair begins.
struct Lowering::BlockOf {
  const SharedTile &tile;
  int64_t perPair;     ///< rows between pairs
  int64_t row, column; ///< of the block, from the pair's beginning
  bool diagonal;       ///< a pair begins at as many columns as rows, else at none
};

/// The byte where (row, column) of a pair's block is.
Value Lowering::offsetIn(const BlockOf &block, Value pair, Value row, Value column) {
  int64_t size = block.tile.elementBytes(), stride = block.tile.rowStride();
  int64_t step = block.perPair * (stride + (block.diagonal ? 1 : 0)) * size, fixed = (block.row * stride + block.column) * size;
  auto times = [&](Value x, int64_t y) { return arith::MulIOp::create(e.b, e.loc, x, i32(y)).getResult(); };
  auto plus = [&](Value x, Value y) { return arith::AddIOp::create(e.b, e.loc, x, y).getResult(); };
  return plus(plus(times(pair, step), times(row, stride * size)), plus(times(column, size), i32(fixed)));
}

/// X = I + M X by rows: a thread has one column of one block.
void Lowering::solveBlocks(const SharedTile &m, int64_t block) {
  int64_t columns = m.shape[0], threads = warps * target.chip.lanes, size = m.elementBytes();
  int64_t run = std::max<int64_t>(2, std::min<int64_t>(4, block)); // factors that one load brings
  Value zero = e.real(m.element, 0.0), one = e.real(m.element, 1.0);
  shared.beforeRead(m);
  SmallVector<std::pair<Value, Registers>> solved; // columns of this thread
  for (int64_t first = 0; first < columns; first += threads) {
    Value column = arith::AddIOp::create(e.b, e.loc, thread, i32(first));
    Value own = arith::AndIOp::create(e.b, e.loc, column, i32(block - 1)),
          number = arith::ShRUIOp::create(e.b, e.loc, column, i32(llvm::Log2_64(block)));
    Value corner = arith::MulIOp::create(e.b, e.loc, number, i32(block * (m.rowStride() + 1) * size));
    auto solve = [&] {
      Registers x;
      for (int64_t i = 0; i < block; ++i) {
        Value sum = e.select(e.cmp(arith::CmpIPredicate::eq, i32(i), own), one, zero);
        for (int64_t from = 0; from < i; from += run) {
          Value address = shared.address(m, corner, (i * m.rowStride() + from) * size);
          Value factors = LLVM::LoadOp::create(e.b, e.loc, Emitter::vec(m.element, run), address, run * size);
          for (int64_t l = from; l < std::min(i, from + run); ++l)
            sum = e.fma(LLVM::ExtractElementOp::create(e.b, e.loc, factors, i32(l - from)), x[l], sum);
        }
        x.push_back(sum);
      }
      return x;
    };
    Value busy = e.cmp(arith::CmpIPredicate::ult, column, i32(columns));
    auto guarded = scf::IfOp::create(
        e.b, e.loc, busy, [&](OpBuilder &, Location) { scf::YieldOp::create(e.b, e.loc, solve()); },
        [&](OpBuilder &, Location) { scf::YieldOp::create(e.b, e.loc, Registers(block, zero)); });
    solved.push_back({column, Registers(guarded.getResults())});
  }
  shared.beforeWrite();
  for (auto &[column, x] : solved)
    e.when(e.cmp(arith::CmpIPredicate::ult, column, i32(columns)), [&, &column = column, &x = x] {
      Value first = arith::AndIOp::create(e.b, e.loc, column, i32(~(block - 1)));
      Value top = arith::AddIOp::create(e.b, e.loc, arith::MulIOp::create(e.b, e.loc, first, i32(m.rowStride() * size)),
                                        arith::MulIOp::create(e.b, e.loc, column, i32(size)));
      for (int64_t i = 0; i < block; ++i)
        e.store(x[i], shared.address(m, top, i * m.rowStride() * size));
    });
}

/// c += a b of f32 in parts that tf32 holds: all but the product of both low parts.
static SmallVector<Value> multiplyParts(Emitter &e, const Target &target, const Atom &atom, ValueRange a, ValueRange b, SmallVector<Value> c) {
  auto split = [&](ValueRange list) {
    std::pair<SmallVector<Value>, SmallVector<Value>> parts;
    for (Value x : list) {
      parts.first.push_back(target.rounded(e, x));
      parts.second.push_back(e.subf(x, parts.first.back()));
    }
    return parts;
  };
  auto [aHigh, aLow] = split(a);
  auto [bHigh, bLow] = split(b);
  c = target.multiply(e, atom, aLow, bHigh, c);
  c = target.multiply(e, atom, aHigh, bLow, c);
  return target.multiply(e, atom, aHigh, bHigh, c);
}

/// to = a b for the blocks of all pairs, of `size` rows and columns, by the matrix unit.
void Lowering::multiplyBlocks(const Atom &atom, int64_t pairs, int64_t size, const BlockOf &a, const BlockOf &b, const BlockOf &to) {
  bool exact = target.atom(atom.element, /*exact=*/true).has_value();
  int64_t across = size / atom.n, down = size / atom.m, count = pairs * across * down;
  auto part = [&](Value number, int64_t divisor, int64_t of) {
    Value quotient = arith::ShRUIOp::create(e.b, e.loc, number, i32(llvm::Log2_64(divisor)));
    return arith::AndIOp::create(e.b, e.loc, quotient, i32(of - 1)).getResult();
  };
  auto shifted = [&](Value number, int64_t step, Value within) {
    return arith::AddIOp::create(e.b, e.loc, arith::MulIOp::create(e.b, e.loc, number, i32(step)), within).getResult();
  };
  auto multiplyOne = [&](Value number) {
    Value column = part(number, 1, across), row = part(number, across, down), pair = part(number, across * down, pairs);
    ArrayRef<Value> inA = threadPart(atom.a), inB = threadPart(atom.b), inC = threadPart(atom.c);
    Value startA = offsetIn(a, pair, shifted(row, atom.m, inA[0]), inA[1]);
    Value startB = offsetIn(b, pair, inB[0], shifted(column, atom.n, inB[1]));
    Value startC = offsetIn(to, pair, shifted(row, atom.m, inC[0]), shifted(column, atom.n, inC[1]));
    auto read = [&](const SharedTile &tile, const LinearLayout &layout, Value start, int64_t row, int64_t column) {
      SmallVector<Value> list;
      for (int64_t r = 0; r < layout.numRegisters(); ++r) {
        Coordinates at = layout.apply(r, 0, 0);
        list.push_back(
            e.load(shared.address(tile, start, ((row + at[0]) * tile.rowStride() + column + at[1]) * tile.elementBytes()), tile.element, 1));
      }
      return list;
    };
    SmallVector<Value> sums(atom.c.numRegisters(), e.real(to.tile.element, 0.0));
    for (int64_t k = 0; k < size; k += atom.k) {
      auto x = read(a.tile, atom.a, startA, 0, k), y = read(b.tile, atom.b, startB, k, 0);
      sums = exact ? target.multiply(e, atom, x, y, sums) : multiplyParts(e, target, atom, x, y, sums);
    }
    for (int64_t r = 0; r < atom.c.numRegisters(); ++r) {
      Coordinates at = atom.c.apply(r, 0, 0);
      e.store(sums[r], shared.address(to.tile, startC, (at[0] * to.tile.rowStride() + at[1]) * to.tile.elementBytes()));
    }
  };
  if (count < warps)
    return e.when(e.cmp(arith::CmpIPredicate::ult, warp, i32(count)), [&] { multiplyOne(warp); });
  e.loop(0, count, warps, [&](Value first) {
    Value from = arith::TruncIOp::create(e.b, e.loc, e.b.getI32Type(), first);
    multiplyOne(arith::AddIOp::create(e.b, e.loc, from, warp));
  });
}

/// The same by element.
void Lowering::multiplyBlocks(int64_t pairs, int64_t size, const BlockOf &a, const BlockOf &b, const BlockOf &to) {
  int64_t count = pairs * size * size, threads = warps * target.chip.lanes, bits = llvm::Log2_64(size);
  auto multiplyOne = [&](Value number) {
    Value column = arith::AndIOp::create(e.b, e.loc, number, i32(size - 1));
    Value row = arith::AndIOp::create(e.b, e.loc, arith::ShRUIOp::create(e.b, e.loc, number, i32(bits)), i32(size - 1));
    Value pair = arith::ShRUIOp::create(e.b, e.loc, number, i32(2 * bits));
    Value startA = offsetIn(a, pair, row, i32(0)), startB = offsetIn(b, pair, i32(0), column);
    int64_t bytes = a.tile.elementBytes(), step = 4;
    auto sum = e.loop(0, size, step, ValueRange{e.real(to.tile.element, 0.0)}, [&](Value k, ValueRange in) {
      Value index = arith::TruncIOp::create(e.b, e.loc, e.b.getI32Type(), k), x = in[0];
      Value along = arith::AddIOp::create(e.b, e.loc, startA, arith::MulIOp::create(e.b, e.loc, index, i32(bytes)));
      Value below = arith::AddIOp::create(e.b, e.loc, startB, arith::MulIOp::create(e.b, e.loc, index, i32(b.tile.rowStride() * bytes)));
      for (int64_t i = 0; i < step; ++i)
        x = e.fma(e.load(shared.address(a.tile, along, i * bytes), a.tile.element, 1),
                  e.load(shared.address(b.tile, below, i * b.tile.rowStride() * bytes), b.tile.element, 1), x);
      return SmallVector<Value>{x};
    });
    e.store(sum[0], shared.address(to.tile, offsetIn(to, pair, row, column), 0));
  };
  if (count < threads)
    return e.when(e.cmp(arith::CmpIPredicate::ult, thread, i32(count)), [&] { multiplyOne(thread); });
  e.loop(0, count, threads, [&](Value first) {
    Value from = arith::TruncIOp::create(e.b, e.loc, e.b.getI32Type(), first);
    multiplyOne(arith::AddIOp::create(e.b, e.loc, from, thread));
  });
}

void Lowering::inverse(tile::InverseOp op) {
  LinearLayout held = layout(op), given = layout(op.getValue());
  int64_t size = held.shape()[0], solved = std::min(size, kSolved);
  Type type = elementOf(op);
  Registers list(registers(op.getValue()));
  for (int64_t r = 0; r < given.numRegisters(); ++r)
    list[r] = e.select(e.cmp(arith::CmpIPredicate::sgt, coordinate(given, r, 0), coordinate(given, r, 1)), list[r], e.real(type, 0.0));
  // M21 X1 of each pair; reserved before M is written, so that the barrier after that covers both.
  std::optional<SharedTile> between;
  if (size > solved)
    between = shared.allocate({size / 2, size / 2}, type, {16});
  SharedTile m = stagePadded(list, given, type, {16});
  solveBlocks(m, solved);
  std::optional<Atom> atom = target.atom(type, /*exact=*/false);
  for (int64_t half = solved; half < size; half *= 2) {
    int64_t pairs = size / (2 * half);
    bool fits = atom && atom->run() == 1 && half >= atom->m && half >= atom->n && half >= atom->k;
    auto multiply = [&](const BlockOf &a, const BlockOf &b, const BlockOf &to) {
      shared.beforeRead(a.tile);
      shared.beforeRead(b.tile);
      fits ? multiplyBlocks(*atom, pairs, half, a, b, to) : multiplyBlocks(pairs, half, a, b, to);
      shared.wroteUnread();
    };
    BlockOf first{m, 2 * half, 0, 0, true}, second{m, 2 * half, half, half, true}, below{m, 2 * half, half, 0, true},
        product{*between, half, 0, 0, false};
    multiply(below, first, product);
    multiply(second, product, below);
  }
  define(op, gather(m, held, [](ArrayRef<Value> at) { return SmallVector<Value>(at); }));
}

} // namespace fla::gpu
