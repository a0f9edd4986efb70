//===- CanonicalEvents.cpp - the update of a matrix state, in order -------===//
#include "CanonicalEvents.h"
#include "ProgramBuilder.h"

using namespace mlir;
using namespace fla;

//===----------------------------------------------------------------------===//
// From versions to a list of events
//===----------------------------------------------------------------------===//

/// Walks from the next state back to the incoming one and fixes the orientation.
std::optional<Bad> CanonicalEvents::collect(int version) {
  SmallVector<int> trunk;
  for (int v = version; v > 0; v = analysis.getVersion(v).parent)
    trunk.push_back(v);
  std::reverse(trunk.begin(), trunk.end());
  position[0] = 0;
  bool readsLeft = false, readsRight = false;
  Operation *last = nullptr; // the last write that reads
  for (auto [i, v] : llvm::enumerate(trunk)) {
    position[v] = i + 1;
    const Version &event = analysis.getVersion(v);
    if (event.kind == Version::Write && (!event.write.x.reads.empty() || !event.write.y.reads.empty()))
      last = event.op;
    readsLeft |= event.kind == Version::Write && !event.write.y.reads.empty();
    readsRight |= event.kind == Version::Write && !event.write.x.reads.empty();
  }
  numEvents = trunk.size();
  if (readsLeft && readsRight)
    return Bad{"reads from both sides of the state feed it (a two-sided transition); read it on one side only", last};
  rowAxis = readsRight ? 1 : 0;
  for (auto [i, v] : llvm::enumerate(trunk)) {
    const Version &event = analysis.getVersion(v);
    if (event.kind == Version::Gate) {
      gates.push_back({static_cast<int>(i), event.logGate, event.gateAxis});
      continue;
    }
    const Affine &x = rowAxis ? event.write.y : event.write.x;
    Affine y = rowAxis ? event.write.x : event.write.y;
    if (auto bad = toTrunk(y))
      return Bad{bad->why, event.op};
    writes.push_back({static_cast<int>(i), x.value, y, event.op});
  }
  return std::nullopt;
}

/// Brings reads of versions that are not on the trunk to ones that are; reads
/// then refer to positions.
std::optional<Bad> CanonicalEvents::toTrunk(Affine &affine) {
  Algebra alg = program.algebra(state.getLoc());
  SmallVector<StateRead> work(affine.reads);
  affine.reads.clear();
  while (!work.empty()) {
    StateRead read = work.pop_back_val();
    if (auto it = position.find(read.version); it != position.end()) {
      affine.reads.push_back({read.query, it->second});
      continue;
    }
    const Version &event = analysis.getVersion(read.version);
    if (event.kind == Version::Gate) {
      if (event.gateAxis >= 0 && event.gateAxis != affine.axis)
        return Bad{"a read of a side version of the state across a decay of the axis that it returns", nullptr};
      work.push_back({alg.mul(read.query, alg.exp(event.logGate)), event.parent});
      continue;
    }
    const Affine &x = affine.axis == 0 ? event.write.x : event.write.y;
    const Affine &y = affine.axis == 0 ? event.write.y : event.write.x;
    if (!x.reads.empty())
      return Bad{"a read of a side version of the state across a write that reads the other side", nullptr};
    Value overlap = alg.dot(read.query, x.value);
    affine.value = alg.add(affine.value, alg.mul(y.value, overlap));
    work.push_back({read.query, event.parent});
    for (const StateRead &inner : y.reads)
      work.push_back({alg.mul(inner.query, overlap), inner.version});
  }
  return std::nullopt;
}

//===----------------------------------------------------------------------===//
// Gates first
//===----------------------------------------------------------------------===//

int CanonicalEvents::writesBefore(int position) const {
  return llvm::count_if(writes, [&](const Write &write) { return write.position < position; });
}

/// Sum of the logs of the gates at events [from, to) on rows or on columns.
Value CanonicalEvents::gateSum(int from, int to, bool rows) {
  Algebra alg = program.algebra(state.getLoc());
  Value sum;
  for (const Gate &gate : gates) {
    bool onRows = gate.axis < 0 || gate.axis == rowAxis;
    if (gate.position >= from && gate.position < to && onRows == rows)
      sum = alg.add(sum, gate.log);
  }
  return sum;
}

bool CanonicalEvents::hasColumnGate(int from, int to) {
  return llvm::any_of(gates, [&](const Gate &gate) {
    return gate.position >= from && gate.position < to && gate.axis == 1 - rowAxis;
  });
}

/// The canonical version that equals the state at `position`, if there is one:
/// -1 before all gates, else after all gates and some writes.
std::optional<int> CanonicalEvents::canonicalVersion(int position) {
  bool before = llvm::all_of(gates, [&](const Gate &gate) { return gate.position >= position; });
  bool after = llvm::all_of(gates, [&](const Gate &gate) { return gate.position < position; });
  bool gatesFirst = writes.empty() || gates.empty() || gates.back().position < writes.front().position;
  if (after && (gatesFirst || position > gates.back().position))
    return writesBefore(position);
  if (before && writesBefore(position) == 0)
    return -1;
  return std::nullopt;
}

/// Moves reads at positions without a canonical version to the incoming state.
std::optional<Bad> CanonicalEvents::toIncoming(Affine &affine) {
  Algebra alg = program.algebra(state.getLoc());
  SmallVector<StateRead> work, kept;
  for (const StateRead &read : affine.reads)
    (canonicalVersion(read.version) ? kept : work).push_back(read);
  bool onRows = affine.axis == rowAxis;
  while (!work.empty()) {
    StateRead read = work.pop_back_val();
    // The nearest write before the position splits the way back.
    const Write *write = nullptr;
    for (const Write &candidate : writes)
      if (candidate.position < read.version)
        write = &candidate;
    int from = write ? write->position + 1 : 0;
    Value passed = gateSum(from, read.version, onRows);
    if (onRows ? hasColumnGate(from, read.version) : gateSum(from, read.version, true) != nullptr)
      return Bad{"a read between two decays of the axis that it returns; read before the first or after the last", nullptr};
    Value query = passed ? alg.mul(read.query, alg.exp(passed)) : read.query;
    if (!write) {
      kept.push_back({query, 0});
      continue;
    }
    if (!onRows)
      return Bad{"a read of the other side between a write and a decay; read before the write or after the decay", nullptr};
    Value overlap = alg.dot(query, write->x);
    affine.value = alg.add(affine.value, alg.mul(write->y.value, overlap));
    StateRead before{query, write->position};
    (canonicalVersion(before.version) ? kept : work).push_back(before);
    for (const StateRead &inner : write->y.reads) {
      StateRead moved{alg.mul(inner.query, overlap), inner.version};
      (canonicalVersion(moved.version) ? kept : work).push_back(moved);
    }
  }
  affine.reads = kept;
  return std::nullopt;
}

/// Rewrites positions into canonical versions.
std::optional<Bad> CanonicalEvents::toCanonical(Affine &affine, bool feedsState) {
  if (auto bad = toIncoming(affine))
    return bad;
  for (StateRead &read : affine.reads) {
    int version = canonicalVersion(read.version).value_or(-1);
    if (gates.empty())
      version = std::max(version, 0);
    if (feedsState && version < 0 && hasColumnGate(0, numEvents))
      return Bad{"a column decay lies between a read and the write that it feeds; read after the decay", nullptr};
    read.version = version;
  }
  return std::nullopt;
}

std::optional<Bad> CanonicalEvents::buildRows() {
  Algebra alg = program.algebra(state.getLoc());
  for (Write &write : writes) {
    Affine y = write.y;
    if (auto bad = toCanonical(y, /*feedsState=*/true))
      return Bad{bad->why, write.op};
    Value rows = gateSum(write.position, numEvents, true), columns = gateSum(write.position, numEvents, false);
    if (columns && !y.reads.empty())
      return Bad{"a column decay after a write that reads the state; decay first", write.op};
    Value x = rows ? alg.mul(write.x, alg.exp(rows)) : write.x;
    Value value = y.value;
    if (columns && value)
      value = alg.mul(value, alg.exp(columns));
    spec.rows.push_back({x, value, y.reads});
  }
  return std::nullopt;
}

/// Joins neighbouring rows of the same x unless something reads between them.
void CanonicalEvents::mergeRows() {
  Algebra alg = program.algebra(state.getLoc());
  for (unsigned w = 1; w < spec.rows.size();) {
    AffineSpec::Row &first = spec.rows[w - 1], &second = spec.rows[w];
    auto seesBetween = [&](const StateRead &read) { return read.version == static_cast<int>(w); };
    bool between = llvm::any_of(spec.answers, [&](auto &answer) { return llvm::any_of(answer.second.reads, seesBetween); });
    for (const AffineSpec::Row &row : spec.rows)
      between |= llvm::any_of(row.reads, seesBetween);
    if (first.x != second.x || between) {
      ++w;
      continue;
    }
    first.value = alg.add(first.value, second.value);
    first.reads.append(second.reads);
    spec.rows.erase(spec.rows.begin() + w);
    auto shift = [&](StateRead &read) { read.version -= read.version > static_cast<int>(w) - 1 ? 1 : 0; };
    for (AffineSpec::Row &row : spec.rows)
      llvm::for_each(row.reads, shift);
    for (auto &answer : spec.answers)
      llvm::for_each(answer.second.reads, shift);
  }
}

std::optional<Bad> CanonicalEvents::build(int version, ArrayRef<Value> answers) {
  if (auto bad = collect(version))
    return bad;
  spec.rowAxis = rowAxis;
  spec.rowGate = gateSum(0, numEvents, true);
  spec.columnGate = gateSum(0, numEvents, false);
  if (auto bad = buildRows())
    return bad;
  for (Value answer : answers) {
    Affine affine = std::get<Affine>(analysis.evaluate(answer));
    auto bad = toTrunk(affine);
    if (!bad)
      bad = toCanonical(affine, /*feedsState=*/false);
    if (bad) {
      bad->op = answer.getDefiningOp();
      return bad;
    }
    spec.answers.push_back({answer, affine});
  }
  mergeRows();
  return std::nullopt;
}

Value CanonicalEvents::emit() { return spec.emit(program, state, state.getLoc()); }

//===----------------------------------------------------------------------===//
// fla.affine
//===----------------------------------------------------------------------===//

/// Reads of one version share one contraction: read(a,S)+read(b,S) = read(a+b,S).
static void mergeReads(Algebra &alg, SmallVectorImpl<StateRead> &reads) {
  SmallVector<StateRead> merged;
  for (const StateRead &read : reads) {
    auto same = llvm::find_if(merged, [&](const StateRead &other) { return other.version == read.version; });
    if (same == merged.end())
      merged.push_back(read);
    else
      same->query = alg.add(same->query, read.query);
  }
  reads.assign(merged.begin(), merged.end());
}

Value AffineSpec::emit(ProgramBuilder &program, BlockArgument state, Location loc) {
  Algebra alg = program.algebra(loc);
  OpBuilder &builder = program.getBuilder();
  StringAttr rowDim = getDims(state)[rowAxis], columnDim = getDims(state)[1 - rowAxis];
  Type rowType = getValueType(builder.getContext(), rowDim), columnType = getValueType(builder.getContext(), columnDim);
  SmallVector<Value> xs, values, reads, queries;
  SmallVector<int64_t> readRows, readVersions, queryVersions;
  SmallVector<bool> queryOnRows;
  for (auto [w, row] : llvm::enumerate(rows)) {
    xs.push_back(row.x);
    values.push_back(row.value ? row.value : alg.splat(0.0, columnType));
    mergeReads(alg, row.reads);
    for (const StateRead &read : row.reads) {
      reads.push_back(read.query);
      readRows.push_back(w);
      readVersions.push_back(read.version);
    }
  }
  SmallVector<Type> types{state.getType()};
  for (auto &[original, affine] : answers) {
    mergeReads(alg, affine.reads);
    for (const StateRead &read : affine.reads) {
      bool onRows = affine.axis == rowAxis;
      queries.push_back(read.query);
      queryVersions.push_back(read.version);
      queryOnRows.push_back(onRows);
      types.push_back(onRows ? columnType : rowType);
    }
  }
  if (rowGate && isZero(rowGate))
    rowGate = {};
  auto op = AffineOp::create(builder, loc, types, program.getState(state), rowGate, columnGate, xs, values, reads, queries, rowAxis, readRows,
                             readVersions, queryVersions, queryOnRows);
  unsigned next = 0;
  for (auto &[original, affine] : answers) {
    Value sum = affine.value;
    for (unsigned i = 0; i < affine.reads.size(); ++i)
      sum = alg.add(sum, op.getAnswers()[next++]);
    program.define(original, sum);
  }
  program.setOpaque(state);
  return op.getNext();
}
