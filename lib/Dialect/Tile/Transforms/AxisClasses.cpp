//===- AxisClasses.cpp - axes of a kernel's tiles that are one ------------===//
#include "AxisClasses.h"

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace fla::tile {

static ArrayRef<int64_t> shapeOf(Value value) {
  auto tensor = dyn_cast<RankedTensorType>(value.getType());
  return tensor ? tensor.getShape() : ArrayRef<int64_t>();
}

AxisClasses::AxisClasses(KernelOp kernel) {
  kernel.getBody().walk([&](Operation *op) { visit(op); });
}

int64_t AxisClasses::find(int64_t number) const {
  while (parents[number] != number)
    number = parents[number];
  return number;
}

int64_t AxisClasses::numberOf(Axis axis) {
  auto [it, isNew] = numbers.try_emplace(axis, parents.size());
  if (isNew) {
    parents.push_back(parents.size());
    axes.push_back(axis);
  }
  return it->second;
}

void AxisClasses::unite(Axis x, Axis y) {
  int64_t a = find(numberOf(x)), b = find(numberOf(y));
  parents[std::max(a, b)] = std::min(a, b);
}

void AxisClasses::uniteAll(ValueRange values) {
  Value first;
  for (Value value : values) {
    if (shapeOf(value).empty())
      continue;
    for (int64_t axis = 0; first && axis < static_cast<int64_t>(shapeOf(value).size()); ++axis)
      unite({first, axis}, {value, axis});
    first = first ? first : value;
  }
}

void AxisClasses::mixAll(ValueRange values) {
  for (Value value : values)
    for (int64_t axis = 0; axis < static_cast<int64_t>(shapeOf(value).size()); ++axis)
      mix({value, axis});
}

void AxisClasses::visitDot(DotOp dot) {
  int64_t keptA = dot.getTransposeA() ? 1 : 0, keptB = dot.getTransposeB() ? 0 : 1;
  Value result = dot.getResult();
  unite({dot.getA(), keptA}, {result, 0});
  unite({dot.getB(), keptB}, {result, 1});
  unite({dot.getA(), 1 - keptA}, {dot.getB(), 1 - keptB});
  mix({dot.getA(), 1 - keptA});
  // Pairs are pairs of tokens: both axes of that matrix are positions in the chunk.
  if (dot.getPairs() != Pairs::all)
    mixAll(dot.restrictsResult() ? result : dot.getA());
  if (dot.getInit())
    uniteAll({dot.getInit(), result});
}

void AxisClasses::visitLoop(scf::ForOp loop) {
  for (auto [init, arg, yielded, result] :
       llvm::zip_equal(loop.getInitArgs(), loop.getRegionIterArgs(), loop.getYieldedValues(), loop.getResults())) {
    uniteAll({init, arg, yielded, result});
    for (int64_t axis = 0; axis < static_cast<int64_t>(shapeOf(arg).size()); ++axis)
      carried.push_back({arg, axis});
  }
}

/// The first axis of what runs along the tokens is mixed; the others stay apart.
void AxisClasses::alongTokens(Operation *op) {
  SmallVector<Value> rows;
  for (Value value : llvm::concat<Value>(llvm::to_vector(op->getOperands()), llvm::to_vector(op->getResults())))
    rows.push_back(value);
  Value first = rows.front();
  for (Value value : rows)
    if (shapeOf(value).size() > shapeOf(first).size())
      first = value;
  int64_t rank = shapeOf(first).size();
  for (Value value : rows) {
    int64_t missing = rank - shapeOf(value).size(); // a carried row lacks the tokens
    for (int64_t axis = 0; axis < static_cast<int64_t>(shapeOf(value).size()); ++axis)
      unite({first, axis + missing}, {value, axis});
  }
  if (rank)
    mix({first, 0});
}

void AxisClasses::visit(Operation *op) {
  llvm::TypeSwitch<Operation *>(op)
      .Case([&](DotOp x) { visitDot(x); })
      .Case([&](scf::ForOp x) { visitLoop(x); })
      .Case([&](BroadcastOp x) {
        for (auto [i, axis] : llvm::enumerate(x.getAxes()))
          if (isa<RankedTensorType>(x.getValue().getType()))
            unite({x.getValue(), i}, {x.getResult(), axis});
      })
      .Case([&](ReduceOp x) {
        int64_t axis = x.getAxis();
        mix({x.getValue(), axis});
        for (int64_t i = 0; i < static_cast<int64_t>(shapeOf(x.getResult()).size()); ++i)
          unite({x.getValue(), i < axis ? i : i + 1}, {x.getResult(), i});
      })
      .Case([&](TransposeOp x) {
        unite({x.getValue(), 0}, {x.getResult(), 1});
        unite({x.getValue(), 1}, {x.getResult(), 0});
      })
      .Case<CumSumOp, LevelDecayOp, LevelDecayGradOp, ScanOp, ScanGradOp>([&](Operation *x) { alongTokens(x); })
      .Case<LoadOp, StoreOp, AllocOp, CopyOp, WaitOp, ReadOp, ValidOp, arith::ConstantOp, tensor::EmptyOp, tensor::SplatOp, scf::YieldOp>(
          [](Operation *) {})
      .Default([&](Operation *x) {
        if (x->hasTrait<OpTrait::Elementwise>())
          return uniteAll(llvm::to_vector(llvm::concat<Value>(llvm::to_vector(x->getOperands()), llvm::to_vector(x->getResults()))));
        mixAll(x->getOperands());
        mixAll(x->getResults());
      });
}

bool AxisClasses::chooseApart() {
  DenseSet<int64_t> together;
  for (int64_t number : mixed)
    together.insert(find(number));
  DenseMap<int64_t, int64_t> elements;
  for (auto [value, axis] : carried)
    if (shapeOf(value).size() == 2 && !together.contains(find(numberOf({value, axis}))))
      elements[find(numberOf({value, axis}))] += shapeOf(value)[0] * shapeOf(value)[1];
  int64_t most = 0;
  for (auto [value, axis] : carried) // in the order of the program
    if (int64_t number = find(numberOf({value, axis})); elements.lookup(number) > most) {
      most = elements[number];
      chosen = number;
      chosenSize = shapeOf(value)[axis];
    }
  if (chosen < 0)
    return false;
  DenseSet<Value> seen;
  for (auto [number, axis] : llvm::enumerate(axes)) {
    if (find(number) != chosen)
      continue;
    bool twice = !seen.insert(axis.first).second;
    if (twice || shapeOf(axis.first).size() > 2 || shapeOf(axis.first)[axis.second] != chosenSize)
      return chosen = -1, false;
  }
  return true;
}

std::optional<int64_t> AxisClasses::apartAxis(Value value) const {
  for (int64_t axis = 0; chosen >= 0 && axis < static_cast<int64_t>(shapeOf(value).size()); ++axis)
    if (auto it = numbers.find({value, axis}); it != numbers.end() && find(it->second) == chosen)
      return axis;
  return std::nullopt;
}

} // namespace fla::tile
