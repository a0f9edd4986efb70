//===- Rows.cpp - running sums and recurrences along the tokens -----------===//
//
// Each walks the rows in order with a vector of columns in registers.
//
//===----------------------------------------------------------------------===//
#include "Lowering.h"

namespace fla::cpu {
namespace {

using ICmp = arith::CmpIPredicate;
using FCmp = arith::CmpFPredicate;
constexpr double kInf = std::numeric_limits<double>::infinity();

/// A tile seen as rows (first axis) of `columns` contiguous elements.
struct Rows {
  Emitter &e;
  Tile tile;
  int64_t count, columns;
  Rows(Emitter &e, Tile t) : e(e), tile(t), count(t.shape[0]), columns(t.shape[0] ? t.size() / t.shape[0] : 0) {}
  Value at(Value row, Value column) { return e.at(tile.base, e.add(e.mul(row, columns), column), tile.element); }
  Value load(Value row, Value column, int64_t width) { return e.load(at(row, column), tile.element, width); }
  void store(Value value, Value row, Value column) { e.store(value, at(row, column)); }
};

/// Calls body(row, carried) for `count` rows from `first`, or backwards.
SmallVector<Value> walk(Emitter &e, Value first, int64_t count, bool reverse, ValueRange init, Emitter::LoopBody body) {
  return e.loop(0, count, 1, init, [&](Value i, ValueRange carried) {
    Value row = reverse ? e.sub(e.add(first, count - 1), i) : e.add(first, i);
    return body(row, carried);
  });
}

/// to[row] = running sum of from over `count` rows.
void runningSum(Emitter &e, Rows &from, Rows &to, Value first, int64_t count, bool reverse, bool exclusive) {
  Type element = from.tile.element;
  e.columns(from.columns, element, [&](Value j, int64_t width) {
    Value zero = e.real(Emitter::vec(element, width), 0.0);
    walk(e, first, count, reverse, ValueRange{zero}, [&](Value row, ValueRange sum) {
      Value next = e.addf(sum[0], from.load(row, j, width));
      to.store(exclusive ? sum[0] : next, row, j);
      return SmallVector<Value>{next};
    });
  });
}

/// For each block of 2h rows calls half(first row, rows, is right).
void forHalves(Emitter &e, int64_t rows, int64_t h, llvm::function_ref<void(Value, int64_t, bool)> half) {
  int64_t whole = rows / (2 * h) * 2 * h, rest = rows - whole;
  e.loop(0, whole, 2 * h, [&](Value start) {
    half(start, h, false);
    half(e.add(start, h), h, true);
  });
  if (rest > 0)
    half(e.index(whole), std::min(rest, h), false);
  if (rest > h)
    half(e.index(whole + h), rest - h, true);
}

} // namespace

void Lowering::cumsum(tile::CumSumOp op) {
  Rows from(e, memory(op.getValue())), to(e, memory(op.getResult()));
  runningSum(e, from, to, e.index(0), from.count, op.getReverse(), op.getExclusive());
}

/// Right halves sum forwards from the middle, left halves backwards to it.
void Lowering::levelDecay(tile::LevelDecayOp op) {
  Rows from(e, memory(op.getGate())), to(e, memory(op.getResult()));
  forHalves(e, from.count, op.getLevel(), [&](Value first, int64_t count, bool right) {
    runningSum(e, from, to, first, count, /*reverse=*/!right, /*exclusive=*/!right || op.getPre());
  });
}

void Lowering::levelDecayGrad(tile::LevelDecayGradOp op) {
  Rows from(e, memory(op.getValue())), to(e, memory(op.getResult()));
  forHalves(e, from.count, op.getLevel(), [&](Value first, int64_t count, bool right) {
    runningSum(e, from, to, first, count, /*reverse=*/right, /*exclusive=*/!right || op.getPre());
  });
}

/// Row t from row t-1: D[t,s] = D[t-1,s] + g[t] for s < t, and 0 at s = t.
void Lowering::segsum(tile::SegSumOp op) {
  Tile gate = memory(op.getGate());
  Rows to(e, memory(op.getResult()));
  Type type = gate.element;
  bool pre = op.getPre(), diagonal = !op.getStrict() && !pre;
  e.columns(to.columns, type, [&](Value j, int64_t width) {
    Type vec = Emitter::vec(type, width);
    Value zero = e.real(vec, 0.0), none = e.real(vec, -kInf);
    e.loop(0, to.count, 1, ValueRange{zero}, [&](Value t, ValueRange sum) {
      Value before = e.below(j, width, t);
      Value g = e.splat(e.load(e.at(gate.base, t, type), type, 1), width);
      Value next = e.select(before, e.addf(sum[0], g), zero);
      Value visible = diagonal ? e.below(j, width, e.add(t, 1)) : before;
      to.store(e.select(visible, pre ? sum[0] : next, none), t, j);
      return SmallVector<Value>{next};
    });
  });
}

/// R[s] = sum over t >= l of dD[t,s]; dg[l] = sum over s < l of R[s].
void Lowering::segsumGrad(tile::SegSumGradOp op) {
  Rows from(e, memory(op.getValue()));
  Tile to = memory(op.getResult());
  Type type = to.element;
  if (to.size() == 0)
    return;
  Value sums = scratch(from.columns * Emitter::bytes(type));
  e.fill(sums, from.columns, e.real(type, 0.0));
  int64_t lanes = e.lanes(type), full = from.columns / lanes * lanes;
  walk(e, e.index(0), from.count, true, ValueRange(), [&](Value l, ValueRange) {
    // Adds row l to R and returns the part of dg[l] in these columns.
    auto part = [&](Value j, int64_t width) {
      Value zero = e.real(Emitter::vec(type, width), 0.0);
      Value before = e.below(j, width, l), at = e.at(sums, j, type), old = e.load(at, type, width);
      Value next = e.addf(old, e.select(before, from.load(l, j, width), zero));
      e.store(next, at);
      return e.select(before, op.getPre() ? old : next, zero);
    };
    Value total = e.real(type, 0.0);
    if (full) {
      auto result = e.loop(0, full, lanes, ValueRange{e.real(Emitter::vec(type, lanes), 0.0)}, [&](Value j, ValueRange sum) {
        return SmallVector<Value>{e.addf(sum[0], part(j, lanes))};
      });
      total = e.horizontal(result[0]);
    }
    if (full < from.columns)
      total = e.addf(total, e.horizontal(part(e.index(full), from.columns - full)));
    e.store(total, e.at(to.base, l, type));
    return SmallVector<Value>();
  });
}

//===----------------------------------------------------------------------===//
// Elementwise recurrences
//===----------------------------------------------------------------------===//

/// A state of one row: a tile without the tokens, or a scalar.
Value Lowering::initialRow(Value initial, Value column, int64_t width) {
  if (!isa<RankedTensorType>(initial.getType()))
    return scalar(initial);
  Tile from = memory(initial);
  return e.load(e.at(from.base, column, from.element), from.element, width);
}

void Lowering::lastRow(Value last, Value column, Value value) {
  if (!isa<RankedTensorType>(last.getType()))
    return define(last, value);
  Tile to = memory(last);
  e.store(value, e.at(to.base, column, to.element));
}

static Value scanStep(Emitter &e, ScanKind kind, Value state, Value decay, Value input) {
  switch (kind) {
  case ScanKind::linear:
    return e.fma(decay, state, input);
  case ScanKind::log:
    return emitLogAddExp(e, e.addf(state, decay), input);
  case ScanKind::max:
    return e.maxf(e.addf(state, decay), input);
  }
  llvm_unreachable("all kinds are covered");
}

void Lowering::scan(tile::ScanOp op) {
  Rows decay(e, memory(op.getDecay())), input(e, memory(op.getInput()));
  Rows prev(e, memory(op.getPrev())), next(e, memory(op.getNext()));
  bool wantsPrev = !op.getPrev().use_empty(), wantsNext = !op.getNext().use_empty();
  e.columns(decay.columns, decay.tile.element, [&](Value j, int64_t width) {
    auto last = e.loop(0, decay.count, 1, ValueRange{initialRow(op.getInitial(), j, width)}, [&](Value t, ValueRange state) {
      if (wantsPrev)
        prev.store(state[0], t, j);
      Value after = scanStep(e, op.getKind(), state[0], decay.load(t, j, width), input.load(t, j, width));
      if (wantsNext)
        next.store(after, t, j);
      return SmallVector<Value>{after};
    });
    lastRow(op.getLast(), j, last[0]);
  });
}

namespace {
struct ScanGrad {
  Value decay, input, back;
};
} // namespace

/// The three products of D, the gradient of the state after a row.
static ScanGrad scanGradStep(Emitter &e, ScanKind kind, Value grad, Value decay, Value input, Value prev, Value next) {
  Value zero = e.real(grad.getType(), 0.0);
  if (kind == ScanKind::linear)
    return {e.mulf(grad, prev), grad, e.mulf(grad, decay)};
  Value moved = e.addf(prev, decay);
  if (kind == ScanKind::max) {
    Value kept = e.cmp(FCmp::OGE, moved, input);
    Value through = e.select(kept, grad, zero), fresh = e.select(kept, zero, grad);
    return {through, fresh, through};
  }
  Value empty = e.cmp(FCmp::OEQ, next, e.real(grad.getType(), -kInf));
  auto share = [&](Value x) { return e.mulf(grad, e.select(empty, zero, emitExp(e, e.subf(x, next)))); };
  Value through = share(moved);
  return {through, share(input), through};
}

void Lowering::scanGrad(tile::ScanGradOp op) {
  Rows decay(e, memory(op.getDecay())), input(e, memory(op.getInput()));
  Rows prev(e, memory(op.getPrev())), next(e, memory(op.getNext()));
  Rows dPrev(e, memory(op.getDPrev())), dNext(e, memory(op.getDNext()));
  Rows dDecay(e, memory(op.getDDecay())), dInput(e, memory(op.getDInput()));
  bool wantsDecay = !op.getDDecay().use_empty(), wantsInput = !op.getDInput().use_empty();
  e.columns(decay.columns, decay.tile.element, [&](Value j, int64_t width) {
    Value last = initialRow(op.getDLast(), j, width);
    auto first = walk(e, e.index(0), decay.count, true, ValueRange{last}, [&](Value t, ValueRange carried) {
      Value grad = e.addf(carried[0], dNext.load(t, j, width));
      ScanGrad g = scanGradStep(e, op.getKind(), grad, decay.load(t, j, width), input.load(t, j, width), prev.load(t, j, width),
                                next.load(t, j, width));
      if (wantsDecay)
        dDecay.store(g.decay, t, j);
      if (wantsInput)
        dInput.store(g.input, t, j);
      return SmallVector<Value>{e.addf(g.back, dPrev.load(t, j, width))};
    });
    lastRow(op.getDInitial(), j, first[0]);
  });
}

} // namespace fla::cpu
