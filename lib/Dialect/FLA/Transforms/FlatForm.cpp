//===- FlatForm.cpp - an update relative to the incoming state ------------===//
#include "FlatForm.h"
#include "ProgramBuilder.h"

using namespace mlir;
using namespace fla;

std::optional<FlatForm::Matrix> FlatForm::matrixSum(Operation *op) {
  auto a = matrix(op->getOperand(0)), b = matrix(op->getOperand(1));
  if (!a || !b)
    return std::nullopt;
  if (isa<arith::SubFOp>(op)) {
    if (b->decay)
      return std::nullopt;
    for (Row &row : b->rows)
      row.b = alg.neg(row.b), row.v = alg.neg(row.v);
  }
  a->decay = alg.add(a->decay, b->decay);
  a->rows.append(b->rows);
  return a;
}

std::optional<FlatForm::Matrix> FlatForm::matrixProduct(Operation *op) {
  Value value = op->getOperand(0), factor = op->getOperand(1);
  if (!program.dependsOn(value, state) && program.dependsOn(factor, state))
    std::swap(value, factor);
  if (program.dependsOn(factor, state) || !program.isAvailable(factor))
    return std::nullopt;
  if (auto broadcast = factor.getDefiningOp<BroadcastOp>())
    factor = broadcast.getValue();
  bool onRows = getDims(factor).size() == 1 && getDims(factor)[0] == getDims(state)[0];
  auto m = matrix(value);
  // The factor must be evidently non-negative when it decays the state.
  if (!m || (!getDims(factor).empty() && !onRows) || (m->decay && !program.logarithm(factor)))
    return std::nullopt;
  Value copy = program.materialize(factor);
  m->decay = alg.mul(m->decay, copy);
  for (Row &row : m->rows)
    row.x = alg.mul(row.x, copy);
  return m;
}

std::optional<FlatForm::Matrix> FlatForm::matrix(Value value) {
  if (value == state)
    return Matrix{alg.constant(1.0), {}};
  Operation *op = value.getDefiningOp();
  if (isa_and_nonnull<arith::AddFOp, arith::SubFOp>(op))
    return matrixSum(op);
  if (isa_and_nonnull<arith::MulFOp, ScaleOp, GateOp>(op))
    return matrixProduct(op);
  auto rankOne = [&](Value x, Value y) -> std::optional<Matrix> {
    auto yVector = vector(y);
    if (program.dependsOn(x, state) || !program.isAvailable(x) || !yVector)
      return std::nullopt;
    return Matrix{{}, {Row{program.materialize(x), yVector->b, yVector->v}}};
  };
  if (auto outer = dyn_cast_or_null<OuterOp>(op))
    return rankOne(outer.getX(), outer.getY());
  if (auto write = dyn_cast_or_null<WriteOp>(op)) {
    auto m = matrix(write.getState()), term = rankOne(write.getX(), write.getY());
    if (!m || !term)
      return std::nullopt;
    m->rows.append(term->rows);
    return m;
  }
  return std::nullopt;
}

std::optional<FlatForm::Vector> FlatForm::read(ReadOp op) {
  auto m = matrix(op.getState());
  if (!m || program.dependsOn(op.getQuery(), state) || !program.isAvailable(op.getQuery()) ||
      getDims(op.getQuery())[0] != getDims(state)[0])
    return std::nullopt;
  Value query = program.materialize(op.getQuery());
  Vector result{{}, alg.mul(query, m->decay)};
  for (const Row &row : m->rows) {
    Value overlap = alg.dot(query, row.x);
    result.v = alg.add(result.v, alg.mul(row.v, overlap));
    result.b = alg.add(result.b, alg.mul(row.b, overlap));
  }
  return result;
}

std::optional<FlatForm::Vector> FlatForm::vector(Value value) {
  if (!program.dependsOn(value, state))
    return program.isAvailable(value) ? std::optional(Vector{program.materialize(value), {}}) : std::nullopt;
  Operation *op = value.getDefiningOp();
  if (auto readOp = dyn_cast<ReadOp>(op))
    return read(readOp);
  if (isa<arith::NegFOp>(op)) {
    auto v = vector(op->getOperand(0));
    return v ? std::optional(Vector{alg.neg(v->v), alg.neg(v->b)}) : std::nullopt;
  }
  if (isa<arith::AddFOp, arith::SubFOp>(op)) {
    auto a = vector(op->getOperand(0)), b = vector(op->getOperand(1));
    if (!a || !b)
      return std::nullopt;
    bool minus = isa<arith::SubFOp>(op);
    return Vector{minus ? alg.sub(a->v, b->v) : alg.add(a->v, b->v), minus && b->b ? alg.sub(a->b, b->b) : alg.add(a->b, b->b)};
  }
  if (isa<arith::MulFOp, ScaleOp>(op)) {
    Value factor = op->getOperand(1), other = op->getOperand(0);
    if (program.dependsOn(factor, state))
      std::swap(factor, other);
    auto v = vector(other);
    if (!v || program.dependsOn(factor, state) || !program.isAvailable(factor) || (v->b && !getDims(factor).empty()))
      return std::nullopt;
    Value copy = program.materialize(factor);
    return Vector{alg.mul(v->v, copy), alg.mul(v->b, copy)};
  }
  return std::nullopt;
}

std::optional<Bad> FlatForm::build(Value next) {
  auto m = matrix(next);
  if (!m || !m->decay)
    return Bad{"no flat form", next.getDefiningOp()};
  spec.rowGate = getSplat(m->decay) == 1.0 ? Value() : math::LogOp::create(program.getBuilder(), state.getLoc(), m->decay).getResult();
  for (const Row &row : m->rows) {
    AffineSpec::Row canonical{row.x, row.v, {}};
    if (row.b)
      canonical.reads.push_back({row.b, spec.rowGate ? -1 : 0});
    spec.rows.push_back(canonical);
  }
  return std::nullopt;
}

/// S' q over columns, given a = S q: d * a + sum x (v . q + b . a).
Value FlatForm::columnRead(const Matrix &m, Value query, Value answer) {
  Value sum = m.decay ? alg.mul(answer, m.decay) : Value();
  for (const Row &row : m.rows) {
    Value weight = row.v ? alg.dot(row.v, query) : Value();
    if (row.b)
      weight = alg.add(weight, alg.dot(row.b, answer));
    sum = weight ? alg.add(sum, alg.mul(row.x, weight)) : sum;
  }
  return sum;
}

/// Reads outside the update are flat as well: each is v + (incoming S)^T b.
FailureOr<Value> FlatForm::emit(RecurrenceOp recurrence) {
  int incoming = spec.rowGate ? -1 : 0;
  SmallVector<std::pair<ReadOp, Matrix>> overColumns;
  for (Operation &op : recurrence.getStep().without_terminator()) {
    auto readOp = dyn_cast<ReadOp>(&op);
    if (!readOp || !program.dependsOn(readOp.getState(), state) || program.dependsOn(readOp.getQuery(), state) ||
        !program.isAvailable(readOp.getQuery()))
      continue;
    if (auto v = read(readOp)) {
      Affine affine{0, v->v, {}};
      if (v->b)
        affine.reads.push_back({v->b, incoming});
      spec.answers.push_back({readOp.getResult(), affine});
    } else if (auto m = matrix(readOp.getState()); m && m->decay) {
      Affine affine{1, {}, {{program.materialize(readOp.getQuery()), incoming}}};
      spec.answers.push_back({readOp.getResult(), affine});
      overColumns.push_back({readOp, *m});
    }
  }
  Value next = spec.emit(program, state, state.getLoc());
  for (auto &[op, m] : overColumns)
    program.define(op.getResult(), columnRead(m, program.materialize(op.getQuery()), program.materialize(op.getResult())));
  return next;
}
