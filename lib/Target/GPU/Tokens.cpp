//===- Tokens.cpp - what runs along the tokens of a chunk -----------------===//
//
// A thread holds whole columns: register t is token t. Registers beyond the
// tokens are further columns.
//
//===----------------------------------------------------------------------===//
#include "Lowering.h"

#include <limits>

namespace fla::gpu {

constexpr double kInf = std::numeric_limits<double>::infinity();

/// Calls `column(registers of one column)` for each column; edits are written back.
static void forEachColumn(const LinearLayout &layout, Registers &list, llvm::function_ref<void(MutableArrayRef<Value>)> column) {
  int64_t tokens = layout.shape()[0];
  for (int64_t first = 0; first < static_cast<int64_t>(list.size()); first += tokens)
    column(MutableArrayRef<Value>(list).slice(first, tokens));
}

/// Running sums of a column in place.
static void runningSum(Emitter &e, MutableArrayRef<Value> x, bool reverse, bool exclusive) {
  Value sum = e.real(x[0].getType(), 0.0);
  int64_t n = x.size();
  for (int64_t i = 0; i < n; ++i) {
    Value &at = x[reverse ? n - 1 - i : i];
    Value next = i ? e.addf(sum, at) : at;
    at = exclusive ? sum : next;
    sum = next;
  }
}

void Lowering::cumsum(tile::CumSumOp op) {
  Registers list(registers(op.getValue()));
  forEachColumn(layout(op), list, [&](MutableArrayRef<Value> column) { runningSum(e, column, op.getReverse(), op.getExclusive()); });
  define(op, list);
}

/// D[t] = D[t-1] + g[t] for t after s, the column's own token.
void Lowering::segsum(tile::SegSumOp op) {
  ArrayRef<Value> gate = registers(op.getGate());
  LinearLayout held = layout(op);
  int64_t tokens = held.shape()[0];
  Type type = elementOf(op);
  Value zero = e.real(type, 0.0), invisible = e.real(type, -kInf);
  Value diagonal = op.getPre() || op.getStrict() ? invisible : zero;
  Registers list;
  for (int64_t first = 0; first < held.numRegisters(); first += tokens) {
    Value s = coordinate(held, first, 1), sum = zero;
    for (int64_t t = 0; t < tokens; ++t) {
      Value after = e.cmp(arith::CmpIPredicate::sgt, i32(t), s), same = e.cmp(arith::CmpIPredicate::eq, i32(t), s);
      Value next = e.select(after, e.addf(sum, gate[t]), zero);
      list.push_back(e.select(after, op.getPre() ? sum : next, e.select(same, diagonal, invisible)));
      sum = next;
    }
  }
  define(op, list);
}

/// dg[l] = sum over s < l of the sum over t >= l (t > l with `pre`) of dD[t,s].
void Lowering::segsumGrad(tile::SegSumGradOp op) {
  LinearLayout held = layout(op.getValue());
  Registers list(registers(op.getValue()));
  int64_t tokens = held.shape()[0];
  Value zero = e.real(elementOf(op), 0.0);
  for (int64_t first = 0; first < held.numRegisters(); first += tokens) {
    Value s = coordinate(held, first, 1);
    MutableArrayRef<Value> column = MutableArrayRef<Value>(list).slice(first, tokens);
    SmallVector<Value> after;
    for (int64_t t = 0; t < tokens; ++t) {
      after.push_back(e.cmp(arith::CmpIPredicate::sgt, i32(t), s));
      column[t] = e.select(after[t], column[t], zero);
    }
    runningSum(e, column, /*reverse=*/true, /*exclusive=*/op.getPre());
    for (int64_t t = 0; t < tokens; ++t)
      column[t] = e.select(after[t], column[t], zero);
  }
  LinearLayout summed = held.dropAxis(1).withoutCopies();
  define(op, convert(reduceAxis(tile::ReduceKind::add, held, 1, list), elementOf(op), summed, layout(op)));
}

/// Calls `half(registers, right)` for both halves of each block of 2*level tokens.
static void forEachHalf(MutableArrayRef<Value> column, int64_t level, llvm::function_ref<void(MutableArrayRef<Value>, bool)> half) {
  int64_t n = column.size();
  for (int64_t start = 0; start < n; start += 2 * level) {
    half(column.slice(start, std::min(level, n - start)), false);
    if (start + level < n)
      half(column.slice(start + level, std::min(level, n - start - level)), true);
  }
}

void Lowering::levelDecay(tile::LevelDecayOp op) {
  Registers list(registers(op.getGate()));
  forEachColumn(layout(op), list, [&](MutableArrayRef<Value> column) {
    forEachHalf(column, op.getLevel(), [&](MutableArrayRef<Value> half, bool right) {
      right ? runningSum(e, half, false, op.getPre()) : runningSum(e, half, true, true);
    });
  });
  define(op, list);
}

void Lowering::levelDecayGrad(tile::LevelDecayGradOp op) {
  Registers list(registers(op.getValue()));
  forEachColumn(layout(op), list, [&](MutableArrayRef<Value> column) {
    forEachHalf(column, op.getLevel(), [&](MutableArrayRef<Value> half, bool right) {
      right ? runningSum(e, half, true, op.getPre()) : runningSum(e, half, false, true);
    });
  });
  define(op, list);
}

//===----------------------------------------------------------------------===//
// Scans
//===----------------------------------------------------------------------===//

void Lowering::scan(tile::ScanOp op) {
  LinearLayout held = layout(op.getDecay());
  int64_t tokens = held.shape()[0];
  ArrayRef<Value> decay = registers(op.getDecay()), input = registers(op.getInput()), initial = registers(op.getInitial());
  Registers prev, next, last;
  for (int64_t first = 0; first < held.numRegisters(); first += tokens) {
    Value state = initial[first / tokens];
    for (int64_t r = first; r < first + tokens; ++r) {
      prev.push_back(state);
      switch (op.getKind()) {
      case ScanKind::linear: state = e.fma(decay[r], state, input[r]); break;
      case ScanKind::log: state = emitLogAddExp(e, e.addf(state, decay[r]), input[r]); break;
      case ScanKind::max: state = e.maxf(e.addf(state, decay[r]), input[r]); break;
      }
      next.push_back(state);
    }
    last.push_back(state);
  }
  define(op.getPrev(), prev), define(op.getNext(), next), define(op.getLast(), last);
}

void Lowering::scanGrad(tile::ScanGradOp op) {
  LinearLayout held = layout(op.getDecay());
  int64_t tokens = held.shape()[0];
  auto decay = registers(op.getDecay()), input = registers(op.getInput()), prev = registers(op.getPrev()), next = registers(op.getNext());
  auto dPrev = registers(op.getDPrev()), dNext = registers(op.getDNext()), dLast = registers(op.getDLast());
  Type type = elementOf(op.getDecay());
  Value zero = e.real(type, 0.0), one = e.real(type, 1.0);
  Registers dDecay(held.numRegisters()), dInput(held.numRegisters()), dInitial;
  for (int64_t first = 0; first < held.numRegisters(); first += tokens) {
    Value back = dLast[first / tokens];
    for (int64_t r = first + tokens - 1; r >= first; --r) {
      Value d = e.addf(back, dNext[r]);
      if (op.getKind() == ScanKind::linear) {
        dDecay[r] = e.mulf(d, prev[r]), dInput[r] = d, back = e.mulf(d, decay[r]);
      } else {
        Value kept, added, before = e.addf(prev[r], decay[r]);
        if (op.getKind() == ScanKind::max) {
          kept = e.select(e.cmp(arith::CmpFPredicate::OGE, before, input[r]), one, zero);
          added = e.subf(one, kept);
        } else {
          Value reached = e.cmp(arith::CmpFPredicate::OGT, next[r], e.real(type, -kInf));
          Value to = e.select(reached, next[r], zero);
          kept = e.select(reached, emitExp(e, e.subf(before, to)), zero);
          added = e.select(reached, emitExp(e, e.subf(input[r], to)), zero);
        }
        dDecay[r] = e.mulf(d, kept), dInput[r] = e.mulf(d, added), back = dDecay[r];
      }
      back = e.addf(back, dPrev[r]);
    }
    dInitial.push_back(back);
  }
  define(op.getDInitial(), dInitial), define(op.getDDecay(), dDecay), define(op.getDInput(), dInput);
}

//===----------------------------------------------------------------------===//
// The triangular inverse
//===----------------------------------------------------------------------===//

/// X = I + M X by rows; each thread solves for its own column, M is in shared memory.
void Lowering::inverse(tile::InverseOp op) {
  LinearLayout held = layout(op);
  int64_t size = held.shape()[0];
  SharedTile m = stage(registers(op.getValue()), layout(op.getValue()), elementOf(op));
  shared.beforeRead(m);
  Type type = elementOf(op);
  Value zero = e.real(type, 0.0), one = e.real(type, 1.0);
  Registers list;
  for (int64_t first = 0; first < held.numRegisters(); first += size) {
    Value j = coordinate(held, first, 1);
    SmallVector<Value> x;
    for (int64_t i = 0; i < size; ++i) {
      Value sum = e.select(e.cmp(arith::CmpIPredicate::eq, i32(i), j), one, zero);
      for (int64_t l = 0; l < i; ++l) {
        Value factor = e.load(shared.address(m, i32(0), (i * m.rowStride + l) * m.elementBytes()), type, 1);
        sum = e.fma(factor, x[l], sum);
      }
      x.push_back(sum);
    }
    list.append(x);
  }
  define(op, list);
}

} // namespace fla::gpu
