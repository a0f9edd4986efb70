//===- Dot.cpp - tile.dot and tile.inverse --------------------------------===//
#include "Lowering.h"

namespace fla::cpu {

/// Strides of an operand stored row by row (or transposed).
static std::pair<int64_t, int64_t> strides(ArrayRef<int64_t> shape, bool transposed) {
  return transposed ? std::pair<int64_t, int64_t>{1, shape[1]} : std::pair<int64_t, int64_t>{shape[1], 1};
}

Product productOf(tile::DotOp op) {
  auto a = cast<RankedTensorType>(op.getA().getType()), b = cast<RankedTensorType>(op.getB().getType());
  auto c = cast<RankedTensorType>(op.getResult().getType());
  auto [aRow, aColumn] = strides(a.getShape(), op.getTransposeA());
  auto [bRow, bColumn] = strides(b.getShape(), op.getTransposeB());
  int64_t k = a.getShape()[op.getTransposeA() ? 0 : 1];
  return {c.getShape()[0], c.getShape()[1], k, aRow, aColumn, bRow, bColumn, c.getShape()[1], Product::full, false, c.getElementType(), op.getInit() != nullptr};
}

void Lowering::dot(tile::DotOp op) {
  Product p = productOf(op);
  Value a = memory(op.getA()).base, b = memory(op.getB()).base, c = memory(op.getResult()).base;
  if (p.m * p.n == 0)
    return;
  if (Value init = op.getInit())
    moveTo(init, op.getResult());
  switch (op.getPairs()) {
  case tile::Pairs::level:
    return levelDot(op, p);
  case tile::Pairs::diagonal:
    return diagonalDot(op);
  case tile::Pairs::all:
    break;
  case tile::Pairs::causal:
  case tile::Pairs::strict:
    p.strict = op.getPairs() == tile::Pairs::strict;
    p.shape = op.restrictsResult() ? Product::resultLower : op.getTransposeA() ? Product::upper : Product::lower;
    break;
  }
  FetchedRows fetched = fetchedRows(op, p);
  emitProduct(e, functions, p, a, b, c, scratch(p.scratchBytes(e.lanes(p.element))), fetched);
}

/// Products of h x h blocks: rows of right halves with columns of left halves.
void Lowering::levelDot(tile::DotOp op, Product p) {
  int64_t h = op.getLevel();
  if (h < 8)
    return smallLevelDot(op);
  Value a = memory(op.getA()).base, b = memory(op.getB()).base, c = memory(op.getResult()).base;
  bool onResult = op.restrictsResult(), transposed = op.getTransposeA();
  int64_t tokens = onResult ? p.m : transposed ? p.k : p.m;
  if (!p.accumulate)
    e.fill(c, p.m * p.n, e.real(p.element, 0.0));
  Value space = scratch(p.scratchBytes(e.lanes(p.element)));
  auto block = [&](Value start, int64_t right) {
    // Token rows of the right half start at `middle`, those of the left at `start`.
    Value middle = e.add(start, h);
    Product q = p;
    Value m = transposed ? start : middle, k = onResult ? e.index(0) : transposed ? middle : start, n = onResult ? start : e.index(0);
    q.m = transposed ? h : right;
    q.n = onResult ? h : p.n;
    q.k = onResult ? p.k : transposed ? right : h;
    Value qa = e.at(a, e.add(e.mul(m, p.aRow), e.mul(k, p.aColumn)), p.element);
    Value qb = e.at(b, e.add(e.mul(k, p.bRow), e.mul(n, p.bColumn)), p.element);
    Value qc = e.at(c, e.add(e.mul(m, p.cRow), n), p.element);
    emitProduct(e, functions, q, qa, qb, qc, space);
  };
  int64_t whole = tokens / (2 * h) * 2 * h;
  e.loop(0, whole, 2 * h, [&](Value start) { block(start, h); });
  if (tokens - whole > h)
    block(e.index(whole), tokens - whole - h);
}

/// Blocks below a vector's size: dot products along k, or sums of scaled rows.
void Lowering::smallLevelDot(tile::DotOp op) {
  Product p = productOf(op);
  int64_t h = op.getLevel(), lanes = e.lanes(p.element);
  Value a = memory(op.getA()).base, b = memory(op.getB()).base, c = memory(op.getResult()).base;
  bool onResult = op.restrictsResult(), transposed = op.getTransposeA();
  int64_t tokens = onResult ? p.m : transposed ? p.k : p.m;
  Value zero = e.real(p.element, 0.0);
  if (!p.accumulate)
    e.fill(c, p.m * p.n, zero);
  // Sum over k of a row of A with a row of B, both contiguous.
  auto scores = [&](Value t, Value first, int64_t count) {
    int64_t full = p.k / lanes * lanes;
    Value rowA = e.at(a, e.mul(t, p.aRow), p.element);
    auto rowB = [&](int64_t i) { return e.at(b, e.mul(e.add(first, i), p.bColumn), p.element); };
    SmallVector<Value> sums(count, e.real(Emitter::vec(p.element, lanes), 0.0));
    sums = e.loop(0, full, lanes, sums, [&](Value k, ValueRange in) {
      Value x = e.load(e.at(rowA, k, p.element), p.element, lanes);
      SmallVector<Value> next;
      for (int64_t i = 0; i < count; ++i)
        next.push_back(e.fma(x, e.load(e.at(rowB(i), k, p.element), p.element, lanes), in[i]));
      return next;
    });
    for (int64_t i = 0; i < count; ++i) {
      Value total = full ? e.horizontal(sums[i]) : zero;
      if (int64_t rest = p.k - full) {
        Value x = e.load(e.at(rowA, full, p.element), p.element, rest), y = e.load(e.at(rowB(i), full, p.element), p.element, rest);
        total = e.addf(total, e.horizontal(e.mulf(x, y)));
      }
      e.store(total, e.at(c, e.add(e.add(e.mul(t, p.cRow), first), i), p.element));
    }
  };
  // C[row] = sum over `count` terms of A's entries times rows of B.
  auto sumRows = [&](Value row, Value first, int64_t count) {
    SmallVector<Value> factors;
    for (int64_t i = 0; i < count; ++i)
      factors.push_back(e.load(e.at(a, e.add(e.mul(row, p.aRow), e.mul(e.add(first, i), p.aColumn)), p.element), p.element, 1));
    e.columns(p.n, p.element, [&](Value j, int64_t width) {
      Value to = e.at(c, e.add(e.mul(row, p.cRow), j), p.element);
      Value sum = p.accumulate ? e.load(to, p.element, width) : e.real(Emitter::vec(p.element, width), 0.0);
      for (int64_t i = 0; i < count; ++i) {
        if (p.bColumn == 1 || width == 1) {
          Value at = e.add(e.mul(e.add(first, i), p.bRow), e.mul(j, p.bColumn));
          sum = e.fma(e.splat(factors[i], width), e.load(e.at(b, at, p.element), p.element, width), sum);
          continue;
        }
        Value gathered = e.real(Emitter::vec(p.element, width), 0.0);
        for (int64_t l = 0; l < width; ++l) {
          Value at = e.add(e.mul(e.add(first, i), p.bRow), e.mul(e.add(j, l), p.bColumn));
          gathered = LLVM::InsertElementOp::create(e.b, e.loc, gathered, e.load(e.at(b, at, p.element), p.element, 1), e.index(l));
        }
        sum = e.fma(e.splat(factors[i], width), gathered, sum);
      }
      e.store(sum, to);
    });
  };
  auto block = [&](Value start, int64_t right) {
    Value middle = e.add(start, h);
    int64_t rows = transposed ? h : right, terms = transposed ? right : h;
    e.loop(0, rows, 1, [&](Value r) {
      if (onResult)
        return scores(e.add(middle, r), start, h);
      sumRows(e.add(transposed ? start : middle, r), transposed ? middle : start, terms);
    });
  };
  int64_t whole = tokens / (2 * h) * 2 * h;
  e.loop(0, whole, 2 * h, [&](Value start) { block(start, h); });
  if (tokens - whole > h)
    block(e.index(whole), tokens - whole - h);
}

/// Only pairs of a token with itself: dot products of rows, or scaled rows.
void Lowering::diagonalDot(tile::DotOp op) {
  Product p = productOf(op);
  Value a = memory(op.getA()).base, b = memory(op.getB()).base, c = memory(op.getResult()).base;
  if (op.restrictsResult()) {
    e.fill(c, p.m * p.n, e.real(p.element, 0.0));
    int64_t lanes = e.lanes(p.element), full = p.k / lanes * lanes;
    e.loop(0, std::min(p.m, p.n), 1, [&](Value t) {
      Value x = e.at(a, e.mul(t, p.aRow), p.element), y = e.at(b, e.mul(t, p.bColumn), p.element);
      auto product = [&](Value k, int64_t width, Value sum) {
        return e.fma(e.load(e.at(x, k, p.element), p.element, width), e.load(e.at(y, k, p.element), p.element, width), sum);
      };
      Value total = e.real(p.element, 0.0);
      if (full) {
        auto sums = e.loop(0, full, lanes, ValueRange{e.real(Emitter::vec(p.element, lanes), 0.0)},
                           [&](Value k, ValueRange in) { return SmallVector<Value>{product(k, lanes, in[0])}; });
        total = e.horizontal(sums[0]);
      }
      if (int64_t rest = p.k - full)
        total = e.addf(total, e.horizontal(product(e.index(full), rest, e.real(Emitter::vec(p.element, rest), 0.0))));
      e.store(total, e.at(c, e.mul(t, p.cRow + 1), p.element));
    });
    return;
  }
  e.loop(0, p.m, 1, [&](Value t) {
    Value factor = e.load(e.at(a, e.mul(t, p.aRow + p.aColumn), p.element), p.element, 1);
    e.columns(p.n, p.element, [&](Value j, int64_t width) {
      Value x;
      if (p.bColumn == 1) {
        x = e.load(e.at(b, e.add(e.mul(t, p.bRow), j), p.element), p.element, width);
      } else {
        x = e.real(Emitter::vec(p.element, width), 0.0);
        for (int64_t l = 0; l < width; ++l) {
          Value one = e.load(e.at(b, e.add(e.mul(t, p.bRow), e.mul(e.add(j, l), p.bColumn)), p.element), p.element, 1);
          x = width == 1 ? one : LLVM::InsertElementOp::create(e.b, e.loc, x, one, e.index(l)).getResult();
        }
      }
      Value to = e.at(c, e.add(e.mul(t, p.cRow), j), p.element);
      Value product = e.mulf(e.splat(factor, width), x);
      e.store(p.accumulate ? e.addf(e.load(to, p.element, width), product) : product, to);
    });
  });
}

/// X = I + M X by rows: X[i] = e_i + sum over j < i of M[i,j] X[j]. Panels of
/// columns stay in registers; as accurate as any order of the same sums.
void Lowering::inverse(tile::InverseOp op) {
  Tile m = memory(op.getValue()), x = memory(op.getResult());
  int64_t size = m.shape[0], lanes = e.lanes(m.element);
  Type type = m.element;
  std::string name = "inverse_" + std::to_string(size) + (type.isF32() ? "_f32" : "_f64");
  auto function = functions.get(e.loc, name, 2, [&](OpBuilder &builder, ValueRange args) {
    Emitter in(builder, e.loc, e.vectorBytes);
    Value from = args[0], to = args[1];
    for (int64_t first = 0; first < size; first += 8 * lanes) {
      SmallVector<int64_t> widths;
      for (int64_t left = std::min(8 * lanes, size - first); left > 0; left -= lanes)
        widths.push_back(std::min(left, lanes));
      auto at = [&](Value row, int64_t v) { return in.at(to, in.add(in.mul(row, size), first + v * lanes), type); };
      // Above the panel's diagonal block the inverse is zero.
      in.loop(0, first, 1, [&](Value i) {
        for (auto [v, width] : llvm::enumerate(widths))
          in.store(in.real(Emitter::vec(type, width), 0.0), at(i, v));
      });
      in.loop(first, size, 1, [&](Value i) {
        SmallVector<Value> init;
        for (auto [v, width] : llvm::enumerate(widths)) {
          Value lanesHere = in.b.createOrFold<arith::AddIOp>(in.loc, in.splat(in.index(first + v * lanes), width), in.iota(width));
          Value diagonal = arith::CmpIOp::create(in.b, in.loc, arith::CmpIPredicate::eq, lanesHere, in.splat(i, width));
          Type vec = Emitter::vec(type, width);
          init.push_back(in.select(diagonal, in.real(vec, 1.0), in.real(vec, 0.0)));
        }
        auto row = in.loop(in.index(first), i, 1, init, [&](Value j, ValueRange sums) {
          Value factor = in.load(in.at(from, in.add(in.mul(i, size), j), type), type, 1);
          SmallVector<Value> next;
          for (auto [v, width] : llvm::enumerate(widths))
            next.push_back(in.fma(in.splat(factor, width), in.load(at(j, v), type, width), sums[v]));
          return next;
        });
        for (auto [v, value] : llvm::enumerate(row))
          in.store(value, at(i, v));
      });
    }
  });
  LLVM::CallOp::create(e.b, e.loc, function, ValueRange{m.base, x.base});
}

} // namespace fla::cpu
