//===- Sequences.cpp - several sequences and heads of a definition --------===//
#include "Sequences.h"

#include "Roles.h"
#include "fla/Dialect/Tile/IR/Tile.h"

#include <cmath>
#include <limits>
#include <numeric>
#include <set>

using namespace fla;
using namespace fla::testing;
using interp::Tensor;
using tile::BufferKind;

//===----------------------------------------------------------------------===//
// Problems
//===----------------------------------------------------------------------===//

int64_t Sequences::headsOf(llvm::StringRef name) const { return name == "q" || name == "k" ? setting.heads / setting.group : setting.heads; }

int64_t Sequences::headOf(llvm::StringRef name, int64_t head) const { return head * headsOf(name) / setting.heads; }

int64_t Sequences::firstRow(int64_t sequence) const {
  return std::accumulate(setting.lengths.begin(), setting.lengths.begin() + sequence, int64_t(0));
}

llvm::Expected<Sequences> Sequences::draw(RecurrenceOp definition, const Setting &setting, uint64_t seed) {
  Sequences made(definition, setting);
  for (int64_t n = 0; n < int64_t(setting.lengths.size()); ++n)
    for (int64_t head = 0; head < setting.heads; ++head) {
      check::Case kind = setting.kind;
      kind.tokens = setting.lengths[n];
      auto problem = check::makeProblem(definition, kind, setting.dims, seed++);
      if (!problem)
        return problem.takeError();
      made.problems[{n, head}] = std::move(*problem);
    }
  made.share();
  return made;
}

// Numbers are those of the launch, parameters those of the head, and the heads
// of a group have the same q and k.
void Sequences::share() {
  for (unsigned i = definition.getNumStates(); i < definition.getArgNames().size(); ++i) {
    std::string name = definition.getArgName(i).str();
    for (auto &[place, problem] : problems) {
      Place source = definition.isRuntimeValue(i) ? Place{0, 0}
                     : !definition.isPerToken(i)  ? Place{0, place.second}
                                                  : Place{place.first, headOf(name, place.second) * setting.heads / headsOf(name)};
      if (auto it = problems[source].values.find(name); it != problems[source].values.end())
        problem.values[name] = it->second;
    }
  }
}

/// Calls f(role, name, type, partial) for each buffer of a module's kernels, once a name.
template <class F> static void forEachBuffer(mlir::ModuleOp module, F f) {
  std::set<std::string> seen;
  for (tile::KernelOp kernel : module.getOps<tile::KernelOp>()) {
    auto roles = kernel->getAttrOfType<mlir::ArrayAttr>("roles"), partial = kernel->getAttrOfType<mlir::ArrayAttr>("partial");
    for (auto [i, argument] : llvm::enumerate(kernel.getBody().getArguments()))
      if (seen.insert(kernel.getArgName(i).str()).second)
        f(mlir::cast<mlir::StringAttr>(roles[i]).getValue(), kernel.getArgName(i), mlir::cast<tile::BufferType>(argument.getType()),
          partial && mlir::cast<mlir::BoolAttr>(partial[i]).getValue());
  }
}

static Tensor<double> *givenIn(check::Problem &problem, llvm::StringRef role, llvm::StringRef name) {
  llvm::StringRef plain = name;
  if (role == "initial_state")
    plain.consume_front("initial_");
  if (role == "input" || role == "initial_state") {
    auto it = problem.values.find(plain.str());
    return it == problem.values.end() ? nullptr : &it->second;
  }
  if (role == "d_final_state") {
    plain.consume_front("d_final_");
    auto it = problem.dStates.find(plain.str());
    return it == problem.dStates.end() ? nullptr : &it->second;
  }
  return nullptr;
}

llvm::Error Sequences::solve(llvm::ArrayRef<mlir::ModuleOp> modules) {
  for (auto &[place, problem] : problems) {
    for (mlir::ModuleOp module : modules)
      forEachBuffer(module, [&](llvm::StringRef role, llvm::StringRef name, tile::BufferType type, bool) {
        if (type.getKind() == BufferKind::value)
          return;
        if (Tensor<double> *value = givenIn(problem, role, name))
          roundTo(type.getElementType(), value->data);
        if (role == "d_output") // all outputs are stored alike
          for (Tensor<double> &gradient : problem.dOutputs)
            roundTo(type.getElementType(), gradient.data);
      });
  }
  auto solved = answersOf();
  if (!solved)
    return solved.takeError();
  answers = std::move(*solved);
  return llvm::Error::success();
}

llvm::Expected<std::map<Sequences::Place, check::Answer>> Sequences::answersOf() const {
  std::map<Place, check::Answer> all;
  for (auto &[place, problem] : problems) {
    auto answer = check::solveByTape(definition, problem);
    if (!answer)
      return answer.takeError();
    all[place] = std::move(*answer);
  }
  return all;
}

//===----------------------------------------------------------------------===//
// Buffers
//===----------------------------------------------------------------------===//

interp::Launch Sequences::launch() const {
  interp::Launch launch;
  launch.heads = setting.heads;
  if (!setting.packed) {
    launch.batch = setting.lengths.size();
    launch.tokens = setting.lengths.front();
    return launch;
  }
  for (size_t n = 0; n <= setting.lengths.size(); ++n)
    launch.offsets.push_back(firstRow(n));
  launch.tokens = launch.offsets.back() + setting.spareRows;
  return launch;
}

static int64_t innerSize(tile::BufferType type) {
  int64_t product = 1;
  for (int64_t size : type.getShape())
    product *= size;
  return product;
}

// The element where the part of a sequence and a head starts; rows of token
// buffers lie `heads` times the inner size apart.
int64_t Sequences::position(tile::BufferType type, Place place, int64_t heads, int64_t head) const {
  int64_t inner = innerSize(type);
  switch (type.getKind()) {
  case BufferKind::token:
    return (firstRow(place.first) * heads + head) * inner; // equal lengths are batch entries
  case BufferKind::state:
    return (place.first * heads + head) * inner;
  case BufferKind::param:
    return head * inner;
  default:
    return 0;
  }
}

interp::HostBuffer Sequences::assemble(llvm::StringRef role, llvm::StringRef name, tile::BufferType type) const {
  int64_t heads = role == "input" ? headsOf(name) : setting.heads, inner = innerSize(type);
  interp::HostBuffer buffer;
  for (auto &[place, problem] : problems) {
    auto value = check::givenValue(role, name, problem);
    if (!value)
      return {};
    if (buffer.data.empty())
      buffer.data.assign(interp::bufferSize(type, launch(), heads, 1), std::numeric_limits<double>::quiet_NaN());
    buffer.heads = type.getKind() == BufferKind::value ? 1 : heads;
    int64_t start = position(type, place, heads, place.second * heads / setting.heads);
    int64_t rows = type.getKind() == BufferKind::token ? setting.lengths[place.first] : 1;
    for (int64_t row = 0; row < rows; ++row)
      std::copy_n(value->data.begin() + row * inner, inner, buffer.data.begin() + start + row * heads * inner);
  }
  return buffer;
}

interp::Buffers Sequences::given(mlir::ModuleOp module) const {
  interp::Buffers buffers;
  forEachBuffer(module, [&](llvm::StringRef role, llvm::StringRef name, tile::BufferType type, bool) {
    interp::HostBuffer buffer = assemble(role, name, type);
    if (!buffer.data.empty())
      buffers[name.str()] = std::move(buffer);
  });
  return buffers;
}

Tensor<double> Sequences::slice(tile::BufferType type, const std::vector<double> &data, Place place) const {
  interp::Shape shape;
  int64_t inner = innerSize(type), rows = 1;
  if (type.getKind() == BufferKind::token)
    shape.sizes.push_back(rows = setting.lengths[place.first]);
  shape.sizes.append(type.getShape().begin(), type.getShape().end());
  Tensor<double> value(shape);
  int64_t start = position(type, place, setting.heads, place.second);
  for (int64_t row = 0; row < rows; ++row)
    std::copy_n(data.begin() + start + row * setting.heads * inner, inner, value.data.begin() + row * inner);
  return value;
}

//===----------------------------------------------------------------------===//
// Results
//===----------------------------------------------------------------------===//

/// Column blocks leave their shares along a leading axis, which a caller sums.
static Tensor<double> sumShares(const Tensor<double> &value, int64_t shares, int64_t inner) {
  int64_t own = inner / shares;
  Tensor<double> sum(interp::Shape{{}, {value.size() / shares}});
  for (int64_t i = 0; i < value.size(); ++i)
    sum[i / inner * own + i % own] += value[i];
  return sum;
}

/// A gradient may come in pieces (d_q@first, d_q@second), which a caller sums.
static void addPieces(check::Answer one, check::Answer &all) {
  std::move(one.outputs.begin(), one.outputs.end(), std::back_inserter(all.outputs));
  all.states.merge(one.states);
  for (auto &[name, piece] : one.gradients) {
    auto [it, isNew] = all.gradients.try_emplace(name, piece);
    for (int64_t i = 0; !isNew && i < piece.size(); ++i)
      it->second[i] += piece[i];
  }
}

namespace {
/// A value over all sequences and heads, one after the other.
struct Gathered {
  Tensor<double> got, want;
  void add(const Tensor<double> &from, Tensor<double> &to) {
    to.data.insert(to.data.end(), from.data.begin(), from.data.end());
    to.shape.sizes.assign(1, to.size());
  }
};
} // namespace

std::map<std::string, double> Sequences::errorsOf(const std::map<Place, check::Answer> &results) const {
  std::map<std::string, Gathered> all;
  for (auto &[place, want] : answers) {
    const check::Answer &got = results.at(place);
    auto gather = [&](const std::string &name, const Tensor<double> &a, const Tensor<double> &b) {
      all[name].add(a, all[name].got);
      all[name].add(b, all[name].want);
    };
    for (auto [i, value] : llvm::enumerate(got.outputs))
      gather("output " + std::to_string(i), value, want.outputs.at(i));
    for (auto &[name, value] : got.states)
      gather("final " + name, value, want.states.at(name));
    for (auto &[name, value] : got.gradients)
      gather("d " + name, value, want.gradients.at(name));
  }
  std::map<std::string, double> errors;
  for (auto &[name, value] : all)
    errors[name] = check::relativeError(value.got, value.want);
  return errors;
}

std::map<std::string, double> Sequences::compare(mlir::ModuleOp module, const std::map<std::string, std::vector<double>> &written) const {
  std::map<Place, check::Answer> results;
  for (auto &[place, problem] : problems) {
    check::Answer &got = results[place];
    forEachBuffer(module, [&, place = place](llvm::StringRef role, llvm::StringRef name, tile::BufferType type, bool partial) {
      auto it = written.find(name.str());
      bool isBetweenKernels = name.contains('.');
      if (it == written.end() || type.getKind() == BufferKind::saved || isBetweenKernels)
        return;
      Tensor<double> value = slice(type, it->second, place);
      check::Answer one;
      check::collectResult(role, name.split('@').first, partial ? sumShares(value, type.getShape().front(), innerSize(type)) : value, one);
      addPieces(std::move(one), got);
    });
  }
  return errorsOf(results);
}

// Log gates, parameters and numbers are added up and exponentiated in f32, whatever products take.
void Sequences::move(double unit, std::mt19937_64 &random) {
  std::uniform_real_distribution<double> moves(-unit, unit);
  auto moveAll = [&](Tensor<double> &value) {
    for (double &x : value.data)
      x *= 1 + moves(random);
  };
  for (auto &[place, problem] : problems) {
    for (unsigned i = 0; i < definition.getArgNames().size(); ++i) {
      auto it = problem.values.find(definition.getArgName(i).str());
      bool multiplied = i < definition.getNumStates() || (definition.isPerToken(i) && !check::isGate(definition, i));
      if (multiplied && it != problem.values.end())
        moveAll(it->second);
    }
    for (Tensor<double> &gradient : problem.dOutputs)
      moveAll(gradient);
    for (auto &[name, gradient] : problem.dStates)
      moveAll(gradient);
  }
  share();
}

llvm::Expected<std::map<std::string, double>> Sequences::sensitivity(double unit) const {
  constexpr int draws = 4;
  std::mt19937_64 random(1);
  std::map<std::string, double> squares;
  for (int i = 0; i < draws; ++i) {
    Sequences moved = *this;
    moved.move(unit, random);
    auto results = moved.answersOf();
    if (!results)
      return results.takeError();
    for (auto &[name, error] : errorsOf(*results))
      squares[name] += error * error / draws;
  }
  for (auto &[name, square] : squares)
    square = std::sqrt(square);
  return squares;
}
