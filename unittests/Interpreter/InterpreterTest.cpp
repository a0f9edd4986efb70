//===- InterpreterTest.cpp - what the oracles themselves rest on ----------===//
//
// The tape against central differences, contractions by name, reverse-mode
// operations against the tape, and kernels on packed sequences.
//
//===----------------------------------------------------------------------===//
#include "fla/Dialect/Chunk/IR/Chunk.h"
#include "fla/Interpreter/Kernels.h"
#include "fla/Interpreter/Programs.h"

#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/raw_ostream.h"
#include <cmath>

using namespace mlir;
using namespace fla;
using namespace fla::interp;

static int failures = 0;

static void expect(bool condition, const llvm::Twine &what) {
  if (condition)
    return;
  llvm::errs() << "failed: " << what << "\n";
  ++failures;
}

static void expectNear(double got, double want, double tolerance, const llvm::Twine &what) {
  expect(std::abs(got - want) <= tolerance * (1.0 + std::abs(want)), what + ": got " + std::to_string(got) + ", want " + std::to_string(want));
}

//===----------------------------------------------------------------------===//
// The tape
//===----------------------------------------------------------------------===//

// Fourth order, so that rounding is the only error that is left.
template <class F> static double slope(F f, double x) {
  const double h = 1e-3;
  return (8 * (f(x + h) - f(x - h)) - (f(x + 2 * h) - f(x - 2 * h))) / (12 * h);
}

static void testUnaryDerivatives() {
  for (int f = static_cast<int>(Unary::Neg); f <= static_cast<int>(Unary::Softplus); ++f)
    for (double x : {0.3, 1.7}) {
      auto of = [&](double at) { return apply(Unary(f), at); };
      expectNear(derivative(Unary(f), x, of(x)), slope(of, x), 1e-9, "derivative of unary function " + llvm::Twine(f));
    }
}

static void testBinaryDerivatives() {
  for (int f = static_cast<int>(Binary::Add); f <= static_cast<int>(Binary::LogAddExp); ++f) {
    double a = 0.7, b = 1.3;
    auto [da, db] = derivatives(Binary(f), a, b, apply(Binary(f), a, b));
    expectNear(da, slope([&](double x) { return apply(Binary(f), x, b); }, a), 1e-9, "left derivative of binary function " + llvm::Twine(f));
    expectNear(db, slope([&](double x) { return apply(Binary(f), a, x); }, b), 1e-9, "right derivative of binary function " + llvm::Twine(f));
  }
}

template <class S> static S sample(S x, S y) {
  S z = exponential(x * y) + apply(Unary::Sigmoid, x) / (y + S(2.0));
  return apply(Binary::LogAddExp, z, x - y) * z;
}

static double sampleAt(double x, double y) {
  double z = std::exp(x * y) + apply(Unary::Sigmoid, x) / (y + 2.0);
  return apply(Binary::LogAddExp, z, x - y) * z;
}

static void testTape() {
  TapeScope tape;
  Var x = tape->variable(0.4), y = tape->variable(-0.9);
  Var z = sample(x, y);
  auto gradient = tape->gradients({{z, 2.0}});
  expectNear(z.value, sampleAt(0.4, -0.9), 1e-15, "value on the tape");
  expectNear(gradient[x.node], 2.0 * slope([](double at) { return sampleAt(at, -0.9); }, 0.4), 1e-9, "dz/dx by the tape");
  expectNear(gradient[y.node], 2.0 * slope([](double at) { return sampleAt(0.4, at); }, -0.9), 1e-9, "dz/dy by the tape");
}

// x (3 - 2) + 5 (3 x) with weight -1: 3 - 2 - 15, and 5 once more as a seed.
static void testTerms() {
  TapeScope tape;
  Var x = tape->variable(0.5), y = tape->variable(7.0);
  Var a = x * Var(3.0), b = x * Var(2.0);
  std::vector<double> terms;
  auto gradient = tape->gradients({{a - b, 1.0}, {a, -5.0}, {x, 5.0}}, &terms);
  expectNear(gradient[x.node], -9.0, 0.0, "a sum that cancels");
  expectNear(terms[x.node], 19.0, 0.0, "its terms, those of 3 x already added");
  expectNear(terms[y.node], 0.0, 0.0, "no terms");
}

// A state that starts at -inf has no past to blame.
static void testInfinities() {
  TapeScope tape;
  Var start(-INFINITY), x = tape->variable(0.5);
  Var m = apply(Binary::LogAddExp, start + Var(-1.0), x);
  expectNear(m.value, 0.5, 0.0, "logaddexp from -inf");
  expectNear(tape->gradients({{m, 1.0}})[x.node], 1.0, 0.0, "its gradient");
  expect(std::isinf(apply(Binary::LogAddExp, -INFINITY, -INFINITY)), "logaddexp of nothing is nothing");
  expectNear(apply(Unary::Sigmoid, -800.0), 0.0, 0.0, "sigmoid far left");
  expectNear(apply(Unary::Softplus, 800.0), 800.0, 0.0, "softplus far right");
}

//===----------------------------------------------------------------------===//
// Tensors
//===----------------------------------------------------------------------===//

static Tensor<double> filled(std::initializer_list<std::pair<llvm::StringRef, int64_t>> axes, double first) {
  Shape shape;
  for (auto [name, size] : axes)
    shape.append(name, size);
  Tensor<double> result(shape);
  for (int64_t i = 0; i < result.size(); ++i)
    result[i] = std::sin(first + 1.7 * i);
  return result;
}

// S^T q, S v and the same for several tokens, by names alone.
static void testContract() {
  auto s = filled({{"K", 3}, {"V", 2}}, 0.1), q = filled({{"tokens", 4}, {"K", 3}}, 0.2);
  Shape out;
  out.append("tokens", 4);
  out.append("V", 2);
  auto o = contract(q, s, out), swapped = contract(s, q, out);
  for (int64_t t = 0; t < 4; ++t)
    for (int64_t v = 0; v < 2; ++v) {
      double sum = 0;
      for (int64_t k = 0; k < 3; ++k)
        sum += q[t * 3 + k] * s[k * 2 + v];
      expectNear(o[t * 2 + v], sum, 1e-15, "read");
      expectNear(swapped[t * 2 + v], sum, 1e-15, "read with the operands swapped");
    }
  Shape transposed;
  transposed.append("V", 2);
  transposed.append("K", 3);
  auto st = broadcast(s, transposed);
  expectNear(st[1 * 3 + 2], s[2 * 2 + 1], 0.0, "axes are found by name");
}

//===----------------------------------------------------------------------===//
// Programs
//===----------------------------------------------------------------------===//

static MLIRContext &context() {
  static DialectRegistry registry = [] {
    DialectRegistry r;
    r.insert<FLADialect, chunk::ChunkDialect, tile::TileDialect, arith::ArithDialect, math::MathDialect, scf::SCFDialect, tensor::TensorDialect>();
    return r;
  }();
  static MLIRContext context(registry);
  context.loadAllAvailableDialects();
  return context;
}

static OwningOpRef<ModuleOp> parse(llvm::StringRef text) {
  OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(text, &context());
  expect(static_cast<bool>(module), "a test program parses");
  return module;
}

static std::string message(llvm::Error error) { return llvm::toString(std::move(error)); }

static constexpr char kSum[] = R"(
!K = tensor<?xf64, #fla.dims<K>>
fla.recurrence @sum state(%S : !K) (%x : !K, %w : f64 {param, default = 2.0}) {
  %y = fla.scale %x, %w : !K, f64
  %n = arith.addf %S, %y : !K
  fla.yield state(%n) outputs(%n) : !K, !K
})";

static void testSteps() {
  auto module = parse(kSum);
  Operation *sum = &module->getBody()->front();
  Sizes dims;
  dims["K"] = 2;
  Named<double> values;
  values["x"] = filled({{"tokens", 3}, {"K", 2}}, 0.0);
  auto result = runSteps<double>(sum, values, 3, dims);
  if (!result)
    return expect(false, message(result.takeError()));
  expectNear(result->outputs[0][5], 2.0 * (values["x"][1] + values["x"][3] + values["x"][5]), 1e-15, "running sum");
  expectNear(result->states["S"][1], result->outputs[0][5], 0.0, "final state");
  auto empty = runSteps<double>(sum, {{"x", filled({{"tokens", 0}, {"K", 2}}, 0.0)}}, 0, dims);
  expect(static_cast<bool>(empty) && empty->states["S"].size() == 2, "no tokens");
  if (!empty)
    llvm::consumeError(empty.takeError());
}

static void expectError(llvm::Expected<StepResult<double>> result, llvm::StringRef text) {
  if (result)
    return expect(false, "expected the error '" + text + "'");
  std::string got = message(result.takeError());
  expect(llvm::StringRef(got).contains(text), "expected the error '" + text + "', got '" + got + "'");
}

static void testStepErrors() {
  auto module = parse(kSum);
  Operation *sum = &module->getBody()->front();
  Sizes none, dims;
  dims["K"] = 2;
  expectError(runSteps<double>(sum, {}, 3, none), "expected a size for dimension 'K', got none");
  expectError(runSteps<double>(sum, {}, 3, dims), "expected a value for argument 'x', got none");
  expectError(runSteps<double>(sum, {{"x", filled({{"tokens", 2}, {"K", 2}}, 0.0)}}, 3, dims), "expected argument 'x' to have the shape of its type");
  dims["K"] = int64_t(1) << 40;
  expectError(runSteps<double>(sum, {}, 3, dims), "too large to interpret");
}

// The pair operations of a whole chunk against explicit sums over segments.
static void testPairs(bool pre) {
  MLIRContext &ctx = context();
  OpBuilder builder(&ctx);
  auto names = [&](llvm::ArrayRef<llvm::StringRef> dims) {
    llvm::SmallVector<StringAttr> attrs;
    for (llvm::StringRef dim : dims)
      attrs.push_back(builder.getStringAttr(dim));
    return getValueType(&ctx, attrs);
  };
  Type rows = names({"tokens", "K"}), pairs = names({"tokens", "past"});
  Block block;
  Location loc = builder.getUnknownLoc();
  Value b = block.addArgument(rows, loc), x = block.addArgument(rows, loc), g = block.addArgument(rows, loc), dp = block.addArgument(pairs, loc);
  builder.setInsertionPointToEnd(&block);
  auto score = chunk::ScoreOp::create(builder, loc, pairs, b, x, g, pre, pre);
  auto grad = chunk::GateGradOp::create(builder, loc, g.getType(), dp, b, x, g, pre, pre);

  Sizes sizes;
  sizes["tokens"] = sizes["past"] = 5;
  sizes["K"] = 2;
  auto bValue = filled({{"tokens", 5}, {"K", 2}}, 0.3), xValue = filled({{"tokens", 5}, {"K", 2}}, 0.9);
  auto gValue = map(filled({{"tokens", 5}, {"K", 2}}, 0.5), [](double v) { return -std::abs(v); });
  auto dpValue = filled({{"tokens", 5}, {"past", 5}}, 0.7);

  TapeScope tape;
  auto lift = [&](const Tensor<double> &value, bool variable) {
    Tensor<Var> result(value.shape);
    for (int64_t i = 0; i < value.size(); ++i)
      result[i] = variable ? tape->variable(value[i]) : Var(value[i]);
    return result;
  };
  Tensor<Var> gate = lift(gValue, true);
  Environment<Var> env(sizes);
  auto fine = [](llvm::Error error) { if (error) expect(false, message(std::move(error))); };
  fine(env.set(b, lift(bValue, false)));
  fine(env.set(x, lift(xValue, false)));
  fine(env.set(g, gate));
  fine(env.set(dp, lift(dpValue, false)));
  fine(evaluate<Var>(score, env));
  fine(evaluate<Var>(grad, env));

  std::vector<std::pair<Var, double>> seeds;
  for (int64_t t = 0; t < 5; ++t)
    for (int64_t s = 0; s < 5; ++s) {
      double want = 0.0;
      for (int64_t k = 0; k < 2 && (pre ? s < t : s <= t); ++k) {
        double decay = 0.0;
        for (int64_t l = s + 1; l <= (pre ? t - 1 : t); ++l)
          decay += gValue[l * 2 + k];
        want += bValue[t * 2 + k] * xValue[s * 2 + k] * std::exp(decay);
      }
      expectNear(env[score.getResult()][t * 5 + s].value, want, 1e-14, "chunk.score");
      seeds.emplace_back(env[score.getResult()][t * 5 + s], dpValue[t * 5 + s]);
    }
  auto adjoints = tape->gradients(seeds);
  for (int64_t i = 0; i < gate.size(); ++i)
    expectNear(env[grad.getResult()][i].value, adjoints[gate[i].node], 1e-13, "chunk.gate_grad against the tape");
  block.dropAllReferences();
}

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

static constexpr char kKernel[] = R"(
tile.kernel @running(%x : !tile.buffer<token, f64>, %scale : !tile.buffer<param, f64>, %start : !tile.buffer<state, f64>,
                     out %o : !tile.buffer<token, f64>, out %end : !tile.buffer<state, f64>, out %kept : !tile.buffer<saved, f64>)
    attributes {chunk = 4 : i64, blocks = 1 : i64} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %n = tile.num_chunks
  %a = tile.load %scale {absent = 1.0 : f64} : !tile.buffer<param, f64> -> f64
  %s0 = tile.load %start : !tile.buffer<state, f64> -> f64
  %s = scf.for %c = %c0 to %n step %c1 iter_args(%carry = %s0) -> (f64) {
    tile.store %carry, %kept[%c] : f64, !tile.buffer<saved, f64>
    %v = tile.load %x[%c] : !tile.buffer<token, f64> -> tensor<4xf64>
    %ab = tile.broadcast %a [] : f64 -> tensor<4xf64>
    %av = arith.mulf %v, %ab : tensor<4xf64>
    %sum = tile.cumsum %av : tensor<4xf64>
    %cb = tile.broadcast %carry [] : f64 -> tensor<4xf64>
    %y = arith.addf %sum, %cb : tensor<4xf64>
    tile.store %y, %o[%c] : tensor<4xf64>, !tile.buffer<token, f64>
    %all = tile.reduce add %av axis 0 : tensor<4xf64> -> f64
    %next = arith.addf %carry, %all : f64
    scf.yield %next : f64
  }
  tile.store %s, %end : f64, !tile.buffer<state, f64>
})";


// Two heads of the result share one head of x; three sequences, one of them empty.
static void testKernel() {
  auto module = parse(kKernel);
  Launch launch;
  launch.tokens = 12;
  launch.heads = 2;
  launch.offsets = {0, 6, 6, 11};
  Buffers buffers;
  buffers["x"].data = filled({{"tokens", 12}}, 0.4).data;
  buffers["start"] = {{10, 20, 30, 40, 50, 60}, 2};
  if (llvm::Error error = runKernels(*module, buffers, launch))
    return expect(false, message(std::move(error)));
  const std::vector<double> &x = buffers["x"].data, &o = buffers["o"].data;
  for (int64_t n = 0; n < 3; ++n)
    for (int64_t h = 0; h < 2; ++h) {
      double sum = 10.0 * (2 * n + h + 1);
      for (int64_t t = launch.offsets[n]; t < launch.offsets[n + 1]; ++t) {
        int64_t local = t - launch.offsets[n], slot = launch.offsets[n] / 4 + n + local / 4;
        if (local % 4 == 0)
          expectNear(buffers["kept"].data[slot * 2 + h], sum, 1e-14, "saved at slot " + llvm::Twine(slot));
        sum += x[t];
        expectNear(o[t * 2 + h], sum, 1e-14, "row " + llvm::Twine(t));
      }
      expectNear(buffers["end"].data[n * 2 + h], sum, 1e-14, "end of sequence " + llvm::Twine(n));
    }
  expectNear(o[11 * 2], 0.0, 0.0, "rows past the last sequence are zero");
}

static void testKernelErrors() {
  auto module = parse(kKernel);
  Launch launch;
  launch.tokens = 12;
  launch.offsets = {0, 8, 4};
  Buffers buffers;
  buffers["x"].data.assign(12, 1.0);
  std::string decreasing = message(runKernels(*module, buffers, launch));
  expect(llvm::StringRef(decreasing).contains("expected offsets that increase"), "decreasing offsets: " + decreasing);
  launch.offsets.clear();
  buffers["x"].data.resize(7);
  std::string small = message(runKernels(*module, buffers, launch));
  expect(llvm::StringRef(small).contains("expected a buffer of at least 8 elements, got 7"), "a small buffer: " + small);
}

//===----------------------------------------------------------------------===//
// Tiles
//===----------------------------------------------------------------------===//

// Between them, the levels' decays hold the sum of the gates of every pair.
static void testLevels(bool pre) {
  OpBuilder builder(&context());
  Location loc = builder.getUnknownLoc();
  auto rows = RankedTensorType::get({8, 1}, builder.getF64Type()), vector = RankedTensorType::get({8}, builder.getF64Type());
  auto square = RankedTensorType::get({8, 8}, builder.getF64Type());
  Block block;
  Value g = block.addArgument(rows, loc), flat = block.addArgument(vector, loc);
  builder.setInsertionPointToEnd(&block);
  Sizes sizes;
  Environment<double> env(sizes);
  Tensor<double> gate(Shape{{}, {8, 1}});
  for (int64_t i = 0; i < 8; ++i)
    gate[i] = -std::abs(std::sin(1.0 + i));
  auto fine = [](llvm::Error error) { if (error) expect(false, message(std::move(error))); };
  fine(env.set(g, gate));
  fine(env.set(flat, reshape(gate, Shape{{}, {8}})));
  auto sums = tile::SegSumOp::create(builder, loc, square, flat, pre, true);
  fine(evaluate<double>(sums, env));
  for (int64_t level : {1, 2, 4}) {
    auto decay = tile::LevelDecayOp::create(builder, loc, rows, g, level, pre);
    fine(evaluate<double>(decay, env));
    for (int64_t t = 0; t < 8; ++t)
      for (int64_t s = 0; s < 8; ++s)
        if (t / (2 * level) == s / (2 * level) && t % (2 * level) >= level && s % (2 * level) < level)
          expectNear(env[decay.getResult()][t] + env[decay.getResult()][s], env[sums.getResult()][t * 8 + s], 1e-15, "decay of a level pair");
  }
  block.dropAllReferences();
}

int main() {
  testUnaryDerivatives();
  testBinaryDerivatives();
  testTape();
  testTerms();
  testInfinities();
  testContract();
  testSteps();
  testStepErrors();
  for (bool pre : {false, true}) {
    testPairs(pre);
    testLevels(pre);
  }
  testKernel();
  testKernelErrors();
  llvm::outs() << (failures ? "failures: " + std::to_string(failures) : "all interpreter tests pass") << "\n";
  return failures ? 1 : 0;
}
