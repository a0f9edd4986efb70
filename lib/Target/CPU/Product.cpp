//===- Product.cpp - matrix products held in registers --------------------===//
//
// A panel of B (a few vectors wide) is packed, transposed if need be, then for
// each block of rows the accumulators stay in registers over the loop along k:
//
//   for panel: pack B[:, panel]
//     for rows: acc = 0; for k: acc[r][v] += splat(A[r,k]) * packed[k][v]; C = acc
//
// Triangular shapes cut the loop along k (or whole blocks) and take the rows of
// the diagonal block one by one: entries that do not count are never read.
//
//===----------------------------------------------------------------------===//
#include "Lowering.h"

#include "llvm/Support/raw_ostream.h"

namespace fla::cpu {
namespace {

/// Rows and vectors of the block of accumulators.
struct Blocking {
  int64_t rows, vectors;
};

/// Enough accumulators to hide the latency of FMA, few enough for the registers.
Blocking blocking(const Product &p, int64_t vectorBytes) {
  bool wide = vectorBytes == 64;
  int64_t registers = wide ? 32 : 16, lanes = vectorBytes / Emitter::bytes(p.element);
  Blocking best = wide ? Blocking{12, 2} : Blocking{6, 2};
  if (p.m < best.rows)
    best = {p.m, std::min<int64_t>((registers - 3) / (p.m + 1), 6)};
  best.vectors = std::max<int64_t>(1, std::min<int64_t>(best.vectors, llvm::divideCeil(p.n, lanes)));
  return best;
}

class ProductEmitter {
public:
  ProductEmitter(Emitter &e, const Product &p, ValueRange args)
      : e(e), p(p), a(args[0]), b(args[1]), c(args[2]), scratch(args[3]), lanes(e.lanes(p.element)) {
    if (p.fetchRows)
      fetched = {args[4], args[5]};
  }

  void run() {
    if (p.n == 0 || p.m == 0)
      return;
    if (p.m == 1 && p.bColumn != 1 && p.shape == Product::full)
      return rowTimesTransposed();
    Blocking block = blocking(p, e.vectorBytes);
    packed = p.bColumn != 1 || p.m > 2 * block.rows;
    int64_t panel = block.vectors * lanes;
    e.loop(0, p.n / panel * panel, panel, [&](Value first) { emitPanel(first, panel, block.rows); });
    if (int64_t rest = p.n % panel)
      emitPanel(e.index(p.n - rest), rest, block.rows);
  }

private:
  Emitter &e;
  const Product &p;
  Value a, b, c, scratch;
  int64_t lanes;
  bool packed = false;
  FetchedRows fetched;

  //===--- panels of B ----------------------------------------------------===//

  SmallVector<int64_t> widths(int64_t columns) const {
    SmallVector<int64_t> result;
    for (; columns > 0; columns -= lanes)
      result.push_back(std::min(columns, lanes));
    return result;
  }

  void emitPanel(Value first, int64_t columns, int64_t rows) {
    if (packed)
      p.bColumn == 1 ? packRows(first, columns) : packTransposed(first, columns);
    int64_t rest = p.m % rows, whole = p.m - rest;
    // A short last block hides no latency: it shares its rows with the one before.
    if (0 < rest && rest <= rows / 2 && whole > 0)
      rest += rows, whole -= rows;
    e.loop(0, whole, rows, [&](Value m) {
      fetchRow(m, rows, first, columns);
      emitBlock(m, rows, first, columns);
    });
    int64_t last = rest > rows ? rest / 2 : 0;
    if (rest - last)
      emitBlock(e.index(whole), rest - last, first, columns);
    if (last)
      emitBlock(e.index(p.m - last), last, first, columns);
  }

  int64_t panelStride(int64_t columns) const { return llvm::alignTo(columns, lanes); }

  /// scratch[k][j] = B[k][first + j], padded with zeros to full vectors.
  void packRows(Value first, int64_t columns) {
    int64_t stride = panelStride(columns);
    Value from = e.at(b, first, p.element);
    e.loop(0, p.k, 1, [&](Value k) {
      for (auto [v, width] : llvm::enumerate(widths(columns))) {
        Value x = e.load(e.at(from, e.add(e.mul(k, p.bRow), v * lanes), p.element), p.element, width);
        e.store(widen(x, width), e.at(scratch, e.add(e.mul(k, stride), v * lanes), p.element));
      }
    });
  }
  Value widen(Value x, int64_t width) {
    if (width == lanes)
      return x;
    Type full = Emitter::vec(p.element, lanes);
    if (width == 1)
      return LLVM::InsertElementOp::create(e.b, e.loc, e.real(full, 0.0), x, e.index(0));
    SmallVector<int32_t> mask;
    for (int64_t i = 0; i < lanes; ++i)
      mask.push_back(i < width ? i : width);
    return e.shuffle(x, e.real(Emitter::vec(p.element, width), 0.0), mask);
  }
  Value narrow(Value x, int64_t width) {
    if (width == lanes)
      return x;
    if (width == 1)
      return e.extract(x, 0);
    return e.shuffle(x, x, llvm::to_vector(llvm::seq<int32_t>(0, width)));
  }

  /// The same from B stored n x k: blocks of lanes x lanes are transposed in registers.
  void packTransposed(Value first, int64_t columns) {
    int64_t stride = panelStride(columns), whole = p.k / lanes * lanes;
    Value from = e.at(b, e.mul(first, p.bColumn), p.element);
    for (auto [v, width] : llvm::enumerate(widths(columns))) {
      Value rows = e.at(from, v * lanes * p.bColumn, p.element), to = e.at(scratch, v * lanes, p.element);
      if (width < lanes) {
        packByElement(rows, to, width, 0, stride);
        continue;
      }
      e.loop(0, whole, lanes, [&](Value k) {
        auto block = loadTransposed(e, e.at(rows, k, p.element), p.bColumn, p.element, lanes);
        for (auto [i, x] : llvm::enumerate(block))
          e.store(x, e.at(to, e.mul(e.add(k, i), stride), p.element));
      });
      packByElement(rows, to, width, whole, stride);
    }
  }
  void packByElement(Value rows, Value to, int64_t width, int64_t from, int64_t stride) {
    e.loop(from, p.k, 1, [&](Value k) {
      for (int64_t i = 0; i < lanes; ++i) {
        Value x = i < width ? e.load(e.at(rows, e.add(k, i * p.bColumn), p.element), p.element, 1) : e.real(p.element, 0.0);
        e.store(x, e.at(to, e.add(e.mul(k, stride), i), p.element));
      }
    });
  }

  /// Asks for the row whose number is that of the block of C.
  void fetchRow(Value m, int64_t rows, Value first, int64_t columns) {
    if (!p.fetchRows)
      return;
    auto quotient = [&](Value x, int64_t y) { return arith::DivUIOp::create(e.b, e.loc, x, e.index(y)).getResult(); };
    Value number = e.add(e.mul(quotient(first, columns), p.m / rows), quotient(m, rows));
    e.when(e.cmp(arith::CmpIPredicate::ult, number, e.index(p.fetchRows)), [&] {
      Value start = LLVM::PtrToIntOp::create(e.b, e.loc, e.i64(), fetched.first), next = LLVM::PtrToIntOp::create(e.b, e.loc, e.i64(), fetched.second);
      Value row = e.at(fetched.first, e.mul(number, e.sub(next, start)), e.b.getI8Type());
      for (int64_t line = 0; line < p.fetchBytes; line += 64)
        LLVM::Prefetch::create(e.b, e.loc, e.at(row, line, e.b.getI8Type()), /*rw=*/0, /*hint=*/2, /*cache=*/1);
    });
  }

  //===--- blocks of C ----------------------------------------------------===//

  void emitBlock(Value m, int64_t rows, Value first, int64_t columns) {
    if (p.shape != Product::resultLower)
      return storeBlock(computeBlock(m, rows, first, columns), m, first, columns, false);
    // Blocks right of the diagonal are zero, blocks on it are masked.
    Value last = e.add(m, rows - 1 - p.strict);
    e.when(
        e.cmp(arith::CmpIPredicate::sgt, first, last),
        [&] {
          SmallVector<SmallVector<Value>> zeros(rows);
          for (auto &row : zeros)
            for (int64_t width : widths(columns))
              row.push_back(e.real(Emitter::vec(p.element, packed ? lanes : width), 0.0));
          storeBlock(zeros, m, first, columns, false);
        },
        [&] { storeBlock(computeBlock(m, rows, first, columns), m, first, columns, true); });
  }

  void storeBlock(ArrayRef<SmallVector<Value>> block, Value m, Value first, int64_t columns, bool masked) {
    for (auto [r, row] : llvm::enumerate(block)) {
      Value base = e.at(c, e.add(e.mul(e.add(m, r), p.cRow), first), p.element);
      for (auto [v, width] : llvm::enumerate(widths(columns))) {
        Value x = packed ? narrow(row[v], width) : row[v];
        if (masked) {
          Value limit = e.add(e.add(m, r), 1 - p.strict);
          x = e.select(e.below(e.add(first, v * lanes), width, limit), x, e.real(x.getType(), 0.0));
        }
        e.store(x, e.at(base, v * lanes, p.element));
      }
    }
  }

  SmallVector<Value> loadBlock(Value m, int64_t rows, Value first, int64_t columns) {
    SmallVector<Value> block;
    for (int64_t r = 0; r < rows; ++r) {
      Value base = e.at(c, e.add(e.mul(e.add(m, r), p.cRow), first), p.element);
      for (auto [v, width] : llvm::enumerate(widths(columns))) {
        Value x = e.load(e.at(base, v * lanes, p.element), p.element, width);
        block.push_back(packed ? widen(x, width) : x);
      }
    }
    return block;
  }

  Value loadB(Value k, Value first, int64_t columns, int64_t v, int64_t width) {
    if (packed)
      return e.load(e.at(scratch, e.add(e.mul(k, panelStride(columns)), v * lanes), p.element), p.element, lanes);
    return e.load(e.at(b, e.add(e.add(e.mul(k, p.bRow), first), v * lanes), p.element), p.element, width);
  }

  /// acc += A[m.., k] B[k, first..], for the rows in [fromRow, toRow).
  void step(MutableArrayRef<Value> acc, Value m, Value k, Value first, int64_t columns, int64_t fromRow, int64_t toRow) {
    auto sizes = widths(columns);
    SmallVector<Value> bs;
    for (auto [v, width] : llvm::enumerate(sizes))
      bs.push_back(loadB(k, first, columns, v, width));
    Value base = e.at(a, e.add(e.mul(m, p.aRow), e.mul(k, p.aColumn)), p.element);
    for (int64_t r = fromRow; r < toRow; ++r) {
      Value x = e.load(e.at(base, r * p.aRow, p.element), p.element, 1);
      for (auto [v, y] : llvm::enumerate(bs)) {
        Value &sum = acc[r * bs.size() + v];
        sum = e.fma(e.splat(x, Emitter::width(y.getType())), y, sum);
      }
    }
  }

  SmallVector<SmallVector<Value>> computeBlock(Value m, int64_t rows, Value first, int64_t columns) {
    auto sizes = widths(columns);
    SmallVector<Value> acc;
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t width : sizes)
        acc.push_back(e.real(Emitter::vec(p.element, packed ? lanes : width), 0.0));
    if (p.accumulate)
      acc = loadBlock(m, rows, first, columns);
    auto along = [&](Value from, Value to) {
      acc = e.loop(from, to, 1, acc, [&](Value k, ValueRange sums) {
        SmallVector<Value> next(sums);
        step(next, m, k, first, columns, 0, rows);
        return next;
      });
    };
    switch (p.shape) {
    case Product::full:
    case Product::resultLower:
      if (p.k > 0)
        along(e.index(0), e.index(p.k));
      break;
    case Product::lower:
      along(e.index(0), m);
      for (int64_t k = 0; k + p.strict < rows; ++k)
        step(acc, m, e.add(m, k), first, columns, k + p.strict, rows);
      break;
    case Product::upper:
      for (int64_t k = p.strict; k < rows; ++k)
        step(acc, m, e.add(m, k), first, columns, 0, k + 1 - p.strict);
      along(e.add(m, rows), e.index(p.k));
      break;
    }
    SmallVector<SmallVector<Value>> block;
    for (int64_t r = 0; r < rows; ++r)
      block.emplace_back(ArrayRef(acc).slice(r * sizes.size(), sizes.size()));
    return block;
  }

  //===--- one row times a matrix stored n x k ------------------------------===//

  void rowTimesTransposed() {
    int64_t full = p.k / lanes * lanes, group = 4;
    auto emit = [&](Value n, int64_t count) {
      Type vec = Emitter::vec(p.element, lanes);
      auto element = [&](Value k, int64_t i) { return e.at(b, e.add(e.mul(e.add(n, i), p.bColumn), e.mul(k, p.bRow)), p.element); };
      SmallVector<Value> sums(count, e.real(vec, 0.0));
      if (full)
        sums = e.loop(0, full, lanes, sums, [&](Value k, ValueRange in) {
          Value x = e.load(e.at(a, k, p.element), p.element, lanes);
          SmallVector<Value> next;
          for (int64_t i = 0; i < count; ++i)
            next.push_back(e.fma(x, e.load(element(k, i), p.element, lanes), in[i]));
          return next;
        });
      for (int64_t i = 0; i < count; ++i) {
        Value total = full ? e.horizontal(sums[i]) : e.real(p.element, 0.0);
        if (int64_t rest = p.k - full) {
          Value x = e.load(e.at(a, full, p.element), p.element, rest), y = e.load(element(e.index(full), i), p.element, rest);
          total = e.addf(total, e.horizontal(e.mulf(x, y)));
        }
        Value to = e.at(c, e.add(n, i), p.element);
        e.store(p.accumulate ? e.addf(e.load(to, p.element, 1), total) : total, to);
      }
    };
    e.loop(0, p.n / group * group, group, [&](Value n) { emit(n, group); });
    if (int64_t rest = p.n % group)
      emit(e.index(p.n - rest), rest);
  }
};

} // namespace

std::string Product::name() const {
  static const char *shapes[] = {"full", "result", "lower", "upper"};
  std::string text;
  llvm::raw_string_ostream os(text);
  os << "product_" << element << "_" << m << "x" << n << "x" << k << "_" << aRow << "_" << aColumn << "_" << bRow
                                 << "_" << bColumn << "_" << cRow << "_" << shapes[shape] << (strict ? "_strict" : "") << (accumulate ? "_add" : "");
  if (fetchRows)
    os << "_fetch_" << fetchRows << "x" << fetchBytes;
  return text;
}

int64_t Product::scratchBytes(int64_t lanes) const { return k * 6 * lanes * Emitter::bytes(element); }

int64_t numBlocks(const Product &p, int64_t vectorBytes) {
  auto [rows, vectors] = blocking(p, vectorBytes);
  return p.m / rows * llvm::divideCeil(p.n, vectors * vectorBytes / Emitter::bytes(p.element));
}

void emitProduct(Emitter &e, Functions &functions, const Product &given, Value a, Value b, Value c, Value scratch, FetchedRows fetched) {
  Product p = given;
  // A matrix times one column is a row times the transposed matrix.
  if (p.n == 1 && p.cRow == 1 && p.shape == Product::full) {
    p = {1, given.m, given.k, given.bColumn, given.bRow, given.aColumn, given.aRow, given.m, Product::full, false, given.element, given.accumulate};
    std::swap(a, b);
  }
  SmallVector<Value> arguments{a, b, c, scratch};
  if (p.fetchRows)
    arguments.append({fetched.first, fetched.second});
  auto function = functions.get(e.loc, p.name(), arguments.size(), [&](OpBuilder &builder, ValueRange args) {
    Emitter inside(builder, e.loc, e.vectorBytes);
    ProductEmitter(inside, p, args).run();
  });
  LLVM::CallOp::create(e.b, e.loc, function, arguments);
}

//===----------------------------------------------------------------------===//
// Transposition
//===----------------------------------------------------------------------===//

SmallVector<Value> loadTransposed(Emitter &e, Value base, int64_t rowStride, Type element, int64_t size) {
  SmallVector<Value> rows;
  for (int64_t i = 0; i < size; ++i)
    rows.push_back(e.load(e.at(base, i * rowStride, element), element, size));
  // Swap the off-diagonal h x h blocks of each 2h x 2h block, from large to small.
  for (int64_t h = size / 2; h >= 1; h /= 2) {
    SmallVector<int32_t> upper, lower;
    for (int64_t c = 0; c < size; ++c) {
      upper.push_back(c & h ? size + c - h : c);
      lower.push_back(c & h ? size + c : c + h);
    }
    for (int64_t i = 0; i < size; ++i) {
      if (i & h)
        continue;
      Value x = rows[i], y = rows[i + h];
      rows[i] = e.shuffle(x, y, upper);
      rows[i + h] = e.shuffle(x, y, lower);
    }
  }
  return rows;
}

void emitTranspose(Emitter &e, Tile from, Tile to) {
  int64_t rows = from.shape[0], columns = from.shape[1], lanes = e.lanes(from.element);
  int64_t wholeRows = rows / lanes * lanes, wholeColumns = columns / lanes * lanes;
  auto single = [&](Value i, Value j) {
    Value x = e.load(e.at(from.base, e.add(e.mul(i, columns), j), from.element), from.element, 1);
    e.store(x, e.at(to.base, e.add(e.mul(j, rows), i), to.element));
  };
  e.loop(0, wholeRows, lanes, [&](Value i) {
    e.loop(0, wholeColumns, lanes, [&](Value j) {
      auto block = loadTransposed(e, e.at(from.base, e.add(e.mul(i, columns), j), from.element), columns, from.element, lanes);
      for (auto [c, x] : llvm::enumerate(block))
        e.store(x, e.at(to.base, e.add(e.mul(e.add(j, c), rows), i), to.element));
    });
  });
  e.loop(0, wholeRows, 1, [&](Value i) { e.loop(wholeColumns, columns, 1, [&](Value j) { single(i, j); }); });
  e.loop(wholeRows, rows, 1, [&](Value i) { e.loop(0, columns, 1, [&](Value j) { single(i, j); }); });
}

} // namespace fla::cpu
