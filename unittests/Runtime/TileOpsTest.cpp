//===- TileOpsTest.cpp - every tile operation against plain loops ---------===//
//
// Each case is a kernel whose inputs and outputs are `state` buffers, run in
// f32 and f64 at odd sizes, and a loop in doubles that says what is expected.
//
//===----------------------------------------------------------------------===//
#include "TileRunner.h"

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>

using namespace fla;
using namespace fla::testing;

namespace {

using Array = std::vector<double>;
using Shape = std::vector<int64_t>;
constexpr double kInf = std::numeric_limits<double>::infinity();
int failures = 0, cases = 0;

int64_t sizeOf(const Shape &shape) {
  int64_t n = 1;
  for (int64_t s : shape)
    n *= s;
  return n;
}

/// `8x16x`, the prefix of a type.
std::string dims(const Shape &shape) {
  std::string text;
  for (int64_t s : shape)
    text += std::to_string(s) + "x";
  return text;
}
std::string tensor(const Shape &shape, const std::string &type) { return shape.empty() ? type : "tensor<" + dims(shape) + type + ">"; }

void replaceAll(std::string &text, const std::string &from, const std::string &to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
}

template <typename T> std::vector<char> encode(const Array &values) {
  std::vector<char> bytes(values.size() * sizeof(T) + 64);
  for (size_t i = 0; i < values.size(); ++i) {
    T x = static_cast<T>(values[i]);
    std::memcpy(bytes.data() + i * sizeof(T), &x, sizeof(T));
  }
  return bytes;
}
template <typename T> Array decode(const std::vector<char> &bytes, int64_t count) {
  Array values(count);
  for (int64_t i = 0; i < count; ++i) {
    T x;
    std::memcpy(&x, bytes.data() + i * sizeof(T), sizeof(T));
    values[i] = x;
  }
  return values;
}

Array randomArray(int64_t count, double low = -1, double high = 1) {
  static std::mt19937_64 engine(7);
  std::uniform_real_distribution<double> uniform(low, high);
  Array values(count);
  for (double &x : values)
    x = uniform(engine);
  return values;
}

/// Rounds to f32, so that the reference sees what the kernel sees.
Array rounded(Array values, bool isDouble) {
  if (!isDouble)
    for (double &x : values)
      x = static_cast<float>(x);
  return values;
}

struct Input {
  Shape shape;
  Array values;
};

/// `body` uses %a, %b, ... (loaded tiles) and defines %r0, %r1, ...; FT stands
/// for the float type, T(...) for a tensor type.
struct Case {
  std::string name, body;
  std::vector<Input> inputs;
  std::vector<Shape> outputs;
  std::function<std::vector<Array>(const std::vector<Array> &)> expected;
  double tolerance32 = 2e-6, tolerance64 = 1e-13;
};

std::string kernelText(const Case &c, const std::string &type) {
  std::string args, loads, stores;
  for (size_t i = 0; i < c.inputs.size(); ++i) {
    std::string name(1, static_cast<char>('a' + i)), buffer = "!tile.buffer<state, " + dims(c.inputs[i].shape) + type + ">";
    args += (args.empty() ? "%p" : ", %p") + name + " : " + buffer;
    loads += "%" + name + " = tile.load %p" + name + " : " + buffer + " -> " + tensor(c.inputs[i].shape, type) + "\n";
  }
  for (size_t i = 0; i < c.outputs.size(); ++i) {
    std::string name = std::to_string(i), buffer = "!tile.buffer<state, " + dims(c.outputs[i]) + type + ">";
    args += ", out %q" + name + " : " + buffer;
    stores += "tile.store %r" + name + ", %q" + name + " : " + tensor(c.outputs[i], type) + ", " + buffer + "\n";
  }
  std::string body = c.body;
  replaceAll(body, "FT", type);
  return "tile.kernel @k(" + args + ") attributes {chunk = 4 : i64, blocks = 1 : i64} {\n" + loads + body + "\n" + stores + "}\n";
}

double relativeError(const Array &got, const Array &want) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    if (std::isinf(want[i]) || std::isnan(want[i])) {
      if (!(got[i] == want[i] || (std::isnan(got[i]) && std::isnan(want[i]))))
        return kInf;
      continue;
    }
    difference += (got[i] - want[i]) * (got[i] - want[i]);
    norm += want[i] * want[i];
  }
  double error = std::sqrt(difference) / (std::sqrt(norm) + 1e-6 * std::sqrt(want.size()));
  return std::isnan(error) ? kInf : error;
}

void runCase(const Case &c, bool isDouble) {
  TileRunner runner(kernelText(c, isDouble ? "f64" : "f32"));
  std::vector<std::vector<char>> storage;
  std::vector<Array> inputs;
  for (const Input &input : c.inputs) {
    inputs.push_back(rounded(input.values, isDouble));
    storage.push_back(isDouble ? encode<double>(input.values) : encode<float>(input.values));
  }
  for (const Shape &shape : c.outputs) {
    Array poison(sizeOf(shape), 777.0);
    storage.push_back(isDouble ? encode<double>(poison) : encode<float>(poison));
  }
  std::vector<runtime::Buffer> buffers;
  for (auto &bytes : storage)
    buffers.push_back({bytes.data(), 0, 0, 0, 1});
  runtime::Shape shape{1, 4, 1, 1, nullptr};
  if (!runtime::launch(runner.kernel(), buffers.data(), shape, 1))
    fail("no memory");
  std::vector<Array> expected = c.expected(inputs);
  for (size_t i = 0; i < c.outputs.size(); ++i) {
    auto &bytes = storage[c.inputs.size() + i];
    int64_t count = sizeOf(c.outputs[i]);
    double error = relativeError(isDouble ? decode<double>(bytes, count) : decode<float>(bytes, count), expected[i]);
    double tolerance = isDouble ? c.tolerance64 : c.tolerance32;
    ++cases;
    if (error <= tolerance)
      continue;
    ++failures;
    std::printf("FAIL %s (%s, result %zu): error %.3g, tolerance %.3g\n", c.name.c_str(), isDouble ? "f64" : "f32", i, error, tolerance);
  }
}

void check(const Case &c) {
  runCase(c, false);
  runCase(c, true);
}

std::string name(const char *op, const Shape &shape, const std::string &more = "") { return std::string(op) + " " + dims(shape) + " " + more; }

//===--- dot --------------------------------------------------------------===//

bool visible(const std::string &pairs, int64_t level, int64_t t, int64_t s) {
  if (pairs == "causal")
    return s <= t;
  if (pairs == "strict")
    return s < t;
  if (pairs == "diagonal")
    return s == t;
  if (pairs == "level")
    return t / (2 * level) == s / (2 * level) && t % (2 * level) >= level && s % (2 * level) < level;
  return true;
}

void checkDot(int64_t m, int64_t n, int64_t k, bool ta, bool tb, const std::string &pairs = "all", int64_t level = 0) {
  bool onResult = tb && !ta;
  Shape a = ta ? Shape{k, m} : Shape{m, k}, b = tb ? Shape{n, k} : Shape{k, n};
  Array values = randomArray(m * k);
  // What must not be read is NaN.
  if (!onResult)
    for (int64_t t = 0; t < a[0]; ++t)
      for (int64_t s = 0; s < a[1]; ++s)
        if (!visible(pairs, level, t, s))
          values[t * a[1] + s] = NAN;
  std::string attributes = "pairs(" + pairs + ") " + (level ? "level " + std::to_string(level) + " " : "");
  attributes += ta && tb ? "{transpose_a, transpose_b}" : ta ? "{transpose_a}" : tb ? "{transpose_b}" : "";
  Case c;
  c.name = name("dot", {m, n, k}, attributes);
  std::string types = " : " + tensor(a, "FT") + ", " + tensor(b, "FT") + " -> " + tensor({m, n}, "FT");
  c.body = "%r0 = tile.dot %a, %b " + attributes + types;
  c.inputs = {{a, values}, {b, randomArray(n * k)}};
  c.outputs = {{m, n}};
  // The same sum from a tile, where the result is not the restricted matrix.
  bool startsElsewhere = !onResult || pairs == "all";
  if (startsElsewhere) {
    c.body += "\n%r1 = tile.dot %a, %b init(%c : " + tensor({m, n}, "FT") + ") " + attributes + types;
    c.inputs.push_back({{m, n}, randomArray(m * n)});
    c.outputs.push_back({m, n});
  }
  c.expected = [=](const std::vector<Array> &in) {
    Array out(m * n, 0.0);
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; ++j)
        for (int64_t l = 0; l < k; ++l) {
          bool counts = onResult ? visible(pairs, level, i, j) : ta ? visible(pairs, level, l, i) : visible(pairs, level, i, l);
          if (counts)
            out[i * n + j] += in[0][ta ? l * m + i : i * k + l] * in[1][tb ? j * k + l : l * n + j];
        }
    if (!startsElsewhere)
      return std::vector<Array>{out};
    Array sum = out;
    for (int64_t i = 0; i < m * n; ++i)
      sum[i] += in[2][i];
    return std::vector<Array>{out, sum};
  };
  check(c);
}

void testDots() {
  std::vector<Shape> sizes = {{1, 1, 1},   {1, 65, 17},  {17, 1, 65},   {7, 7, 7},    {17, 65, 7},   {65, 17, 130},
                              {1, 128, 128}, {128, 1, 128}, {64, 128, 128}, {130, 7, 17}, {5, 130, 65}, {2, 16, 3}};
  for (const Shape &s : sizes)
    for (int transposes = 0; transposes < 4; ++transposes)
      checkDot(s[0], s[1], s[2], transposes & 1, transposes & 2);
  for (int64_t t : {1, 7, 17, 64, 65})
    for (const char *pairs : {"causal", "strict", "diagonal"}) {
      checkDot(t, t, 33, false, true, pairs);
      for (bool tb : {false, true}) {
        if (tb)
          checkDot(t, 19, t, true, true, pairs);
        checkDot(t, 19, t, tb, false, pairs);
      }
    }
  for (int64_t t : {1, 7, 64, 65, 50})
    for (int64_t level : {1, 2, 4, 8, 16, 32}) {
      checkDot(t, t, 20, false, true, "level", level);
      checkDot(t, 19, t, false, false, "level", level);
      checkDot(t, 19, t, true, false, "level", level);
      if (level <= 8)
        checkDot(t, 19, t, true, true, "level", level);
    }
}

//===--- inverse ----------------------------------------------------------===//

void checkInverse(int64_t n, bool correlated) {
  Array m = randomArray(n * n, -0.3, 0.3);
  if (correlated) // keys of unit length with cosine 0.9, beta 1
    for (double &x : m)
      x = -0.9 + 0.05 * x;
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = i; j < n; ++j)
      m[i * n + j] = NAN;
  Case c;
  c.name = name("inverse", {n, n}, correlated ? "correlated" : "");
  c.body = "%r0 = tile.inverse %a : " + tensor({n, n}, "FT");
  c.inputs = {{{n, n}, m}};
  c.outputs = {{n, n}};
  c.expected = [=](const std::vector<Array> &in) {
    Array x(n * n, 0.0);
    for (int64_t i = 0; i < n; ++i) {
      x[i * n + i] = 1;
      for (int64_t k = 0; k < i; ++k)
        for (int64_t j = 0; j <= k; ++j)
          x[i * n + j] += in[0][i * n + k] * x[k * n + j];
    }
    return std::vector<Array>{x};
  };
  check(c);
}

//===--- along the tokens -------------------------------------------------===//

void checkCumsum(const Shape &shape, bool reverse, bool exclusive) {
  std::string attributes = std::string(reverse ? "reverse, " : "") + (exclusive ? "exclusive, " : "") + "x = 0 : i64";
  int64_t rows = shape[0], columns = sizeOf(shape) / rows;
  Case c;
  c.name = name("cumsum", shape, attributes);
  c.body = "%r0 = tile.cumsum %a {" + attributes + "} : " + tensor(shape, "FT");
  c.inputs = {{shape, randomArray(sizeOf(shape))}};
  c.outputs = {shape};
  c.expected = [=](const std::vector<Array> &in) {
    Array out(in[0].size());
    for (int64_t j = 0; j < columns; ++j) {
      double sum = 0;
      for (int64_t i = 0; i < rows; ++i) {
        int64_t at = (reverse ? rows - 1 - i : i) * columns + j;
        out[at] = exclusive ? sum : sum + in[0][at];
        sum += in[0][at];
      }
    }
    return std::vector<Array>{out};
  };
  check(c);
}

std::string flags(bool pre, bool strict) {
  std::string text;
  if (pre)
    text += "pre, ";
  if (strict)
    text += "strict, ";
  return "{" + text + "x = 0 : i64}";
}

void checkSegsum(int64_t n, bool pre, bool strict) {
  Array gate = randomArray(n, -5, 0);
  if (n > 5)
    gate[3] = -kInf;
  Case c;
  c.name = name("segsum", {n}, flags(pre, strict));
  c.body = "%r0 = tile.segsum %a " + flags(pre, strict) + " : " + tensor({n}, "FT") + " -> " + tensor({n, n}, "FT");
  c.inputs = {{{n}, gate}};
  c.outputs = {{n, n}};
  c.expected = [=](const std::vector<Array> &in) {
    Array out(n * n, -kInf);
    for (int64_t t = 0; t < n; ++t)
      for (int64_t s = 0; s <= t; ++s) {
        if (s == t && (pre || strict))
          continue;
        double sum = 0;
        for (int64_t l = s + 1; l <= (pre ? t - 1 : t); ++l)
          sum += in[0][l];
        out[t * n + s] = sum;
      }
    return std::vector<Array>{out};
  };
  check(c);

  Array d = randomArray(n * n);
  for (int64_t t = 0; t < n; ++t)
    for (int64_t s = t + (pre || strict ? 0 : 1); s < n; ++s)
      d[t * n + s] = NAN;
  Case g;
  g.name = name("segsum_grad", {n}, flags(pre, strict));
  g.body = "%r0 = tile.segsum_grad %a " + flags(pre, strict) + " : " + tensor({n, n}, "FT") + " -> " + tensor({n}, "FT");
  g.inputs = {{{n, n}, d}};
  g.outputs = {{n}};
  g.expected = [=](const std::vector<Array> &in) {
    Array out(n, 0.0);
    for (int64_t l = 0; l < n; ++l)
      for (int64_t t = pre ? l + 1 : l; t < n; ++t)
        for (int64_t s = 0; s < l; ++s)
          out[l] += in[0][t * n + s];
    return std::vector<Array>{out};
  };
  check(g);
}

/// The sum that row t of a level decay takes: [first, last].
std::pair<int64_t, int64_t> levelRange(int64_t t, int64_t level, bool pre, int64_t n) {
  int64_t middle = t / (2 * level) * (2 * level) + level;
  if (t >= middle)
    return {middle, pre ? t - 1 : t};
  return {t + 1, std::min(middle, n) - 1};
}

void checkLevelDecay(const Shape &shape, int64_t level, bool pre) {
  int64_t n = shape[0], columns = sizeOf(shape) / n;
  for (bool gradient : {false, true}) {
    Case c;
    c.name = name(gradient ? "level_decay_grad" : "level_decay", shape, std::to_string(level) + flags(pre, false));
    c.body = std::string("%r0 = tile.level_decay") + (gradient ? "_grad" : "") + " %a " + std::to_string(level) + " " + flags(pre, false) + " : " +
             tensor(shape, "FT");
    c.inputs = {{shape, randomArray(sizeOf(shape), -5, 0)}};
    c.outputs = {shape};
    c.expected = [=](const std::vector<Array> &in) {
      Array out(in[0].size(), 0.0);
      for (int64_t t = 0; t < n; ++t) {
        auto [first, last] = levelRange(t, level, pre, n);
        for (int64_t l = first; l <= last; ++l)
          for (int64_t j = 0; j < columns; ++j)
            gradient ? out[l * columns + j] += in[0][t * columns + j] : out[t * columns + j] += in[0][l * columns + j];
      }
      return std::vector<Array>{out};
    };
    check(c);
  }
}

//===--- scan -------------------------------------------------------------===//

double logAddExp(double x, double y) {
  double m = std::max(x, y);
  return std::isinf(m) ? m : m + std::log1p(std::exp(std::min(x, y) - m));
}

void checkScan(const std::string &kind, const Shape &shape) {
  int64_t n = shape[0], columns = sizeOf(shape) / n;
  Shape state(shape.begin() + 1, shape.end());
  Array initial = randomArray(columns), decay = randomArray(n * columns, -1, 0), input = randomArray(n * columns, -2, 2);
  if (kind == "log") {
    initial.assign(columns, -kInf);
    input[0] = -kInf;
  }
  std::string s = tensor(state, "FT"), t = tensor(shape, "FT");
  auto forward = [=](const Array &h0, const Array &d, const Array &u, Array &prev, Array &next, Array &last) {
    Array h = h0;
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < columns; ++j) {
        int64_t at = i * columns + j;
        prev[at] = h[j];
        h[j] = kind == "linear" ? d[at] * h[j] + u[at] : kind == "log" ? logAddExp(h[j] + d[at], u[at]) : std::max(h[j] + d[at], u[at]);
        next[at] = h[j];
      }
    last = h;
  };
  Case c;
  c.name = name("scan", shape, kind);
  c.body = "%r0, %r1, %r2 = tile.scan " + kind + " %a, %b, %c : " + s + ", " + t;
  c.inputs = {{state, initial}, {shape, decay}, {shape, input}};
  c.outputs = {shape, shape, state};
  c.expected = [=](const std::vector<Array> &in) {
    Array prev(n * columns), next(n * columns), last;
    forward(in[0], in[1], in[2], prev, next, last);
    return std::vector<Array>{prev, next, last};
  };
  check(c);

  Case g;
  g.name = name("scan_grad", shape, kind);
  g.body = "%x:3 = tile.scan " + kind + " %a, %b, %c : " + s + ", " + t + "\n%r0, %r1, %r2 = tile.scan_grad " + kind +
           " %b, %c, %x#0, %x#1, %d, %e, %f : " + s + ", " + t;
  g.inputs = {{state, initial}, {shape, decay}, {shape, input}, {shape, randomArray(n * columns)}, {shape, randomArray(n * columns)}, {state, randomArray(columns)}};
  g.outputs = {state, shape, shape};
  g.tolerance32 = 4e-6;
  g.expected = [=](const std::vector<Array> &in) {
    Array prev(n * columns), next(n * columns), last, back = in[5], dd(n * columns), du(n * columns);
    forward(in[0], in[1], in[2], prev, next, last);
    for (int64_t i = n - 1; i >= 0; --i)
      for (int64_t j = 0; j < columns; ++j) {
        int64_t at = i * columns + j;
        double grad = back[j] + in[4][at], share = 0, fresh = 1;
        if (kind == "log") {
          share = std::isinf(next[at]) ? 0 : std::exp(prev[at] + in[1][at] - next[at]);
          fresh = std::isinf(next[at]) ? 0 : std::exp(in[2][at] - next[at]);
        } else if (kind == "max") {
          share = prev[at] + in[1][at] >= in[2][at];
          fresh = 1 - share;
        }
        dd[at] = kind == "linear" ? grad * prev[at] : grad * share;
        du[at] = grad * fresh;
        back[j] = (kind == "linear" ? grad * in[1][at] : grad * share) + in[3][at];
      }
    return std::vector<Array>{back, dd, du};
  };
  check(g);
}

//===--- pointwise, reductions, shapes --------------------------------------===//

void checkMath(const char *op, double (*reference)(double), double low, double high, double tolerance32) {
  Array x = randomArray(1037, low, high);
  Case c;
  c.name = std::string("math.") + op;
  c.body = std::string("%r0 = math.") + op + " %a : tensor<1037xFT>";
  c.inputs = {{{1037}, x}};
  c.outputs = {{1037}};
  c.tolerance32 = tolerance32;
  c.tolerance64 = 1e-13;
  c.expected = [=](const std::vector<Array> &in) {
    Array out;
    for (double v : in[0])
      out.push_back(reference(v));
    return std::vector<Array>{out};
  };
  check(c);
}

/// Largest relative error of single values, and the special values.
void checkMathValues(const char *op, double (*reference)(double), Array values, double tolerance) {
  std::string n = std::to_string(values.size());
  for (bool isDouble : {false, true}) {
    std::string type = isDouble ? "f64" : "f32", buffer = "!tile.buffer<state, " + n + "x" + type + ">", t = "tensor<" + n + "x" + type + ">";
    TileRunner runner("tile.kernel @k(%a : " + buffer + ", out %b : " + buffer + ") attributes {chunk = 4 : i64, blocks = 1 : i64} {\n%x = tile.load %a : " +
                      buffer + " -> " + t + "\n%y = math." + op + " %x : " + t + "\ntile.store %y, %b : " + t + ", " + buffer + "\n}");
    auto in = isDouble ? encode<double>(values) : encode<float>(values), out = in;
    runtime::Buffer buffers[] = {{in.data(), 0, 0, 0, 1}, {out.data(), 0, 0, 0, 1}};
    runtime::launch(runner.kernel(), buffers, {1, 4, 1, 1, nullptr}, 1);
    Array got = isDouble ? decode<double>(out, values.size()) : decode<float>(out, values.size());
    double worst = 0, at = 0;
    Array seen = rounded(values, isDouble);
    for (size_t i = 0; i < values.size(); ++i) {
      double want = reference(seen[i]), error = std::fabs(got[i] / want - 1);
      double smallest = isDouble ? std::numeric_limits<double>::min() : std::numeric_limits<float>::min();
      double largest = isDouble ? std::numeric_limits<double>::max() : std::numeric_limits<float>::max();
      if (std::isnan(want) || std::isinf(want) || want == 0 || std::fabs(want) < smallest * 1.0001 || std::fabs(want) > largest) {
        bool good = std::isnan(want) ? std::isnan(got[i]) : std::fabs(want) > largest ? got[i] == std::copysign(kInf, want) : std::fabs(got[i]) <= smallest * 1.001;
        error = good ? 0 : kInf;
      }
      if (error > worst || std::isnan(error))
        worst = std::isnan(error) ? kInf : error, at = values[i];
    }
    ++cases;
    double limit = isDouble ? 1e-12 : tolerance;
    std::printf("%-6s %s: largest relative error %.2e\n", op, type.c_str(), worst);
    if (!(worst <= limit)) {
      ++failures;
      std::printf("FAIL math.%s (%s): error %.3g at %.9g, tolerance %.3g\n", op, type.c_str(), worst, at, limit);
    }
  }
}

Array spread(double low, double high) {
  Array values = randomArray(20000, low, high);
  for (double tiny : {1e-3, 1e-6, 1e-10, 1e-20})
    for (double x : randomArray(100, -tiny, tiny))
      if (x >= low && x <= high)
        values.push_back(x);
  return values;
}

void testMath() {
  Array special = {0.0, -kInf, kInf, NAN, -1e30, 1e30, -87.0, -88.0, -103.0, -104.0, -745.0, -746.0, -60.0, 88.5, 89.0, 709.5, 710.0};
  auto with = [&](Array a, bool specials = true) {
    if (specials)
      a.insert(a.end(), special.begin(), special.end());
    return a;
  };
  checkMathValues("exp", std::exp, with(spread(-100, 90)), 2e-7);
  checkMathValues("exp2", std::exp2, with(spread(-126, 127)), 2e-7);
  Array logs = spread(1e-20, 50);
  for (double x : randomArray(2000, 0.9, 1.1))
    logs.push_back(x);
  for (double x : {0.0, kInf, -1.0, 1e-40, 1e-300, 3e38})
    logs.push_back(x);
  logs.push_back(NAN);
  checkMathValues("log", std::log, logs, 3e-7);
  checkMathValues("log1p", std::log1p, with(spread(-0.999, 50)), 4e-7);
  checkMathValues("expm1", std::expm1, with(spread(-20, 80)), 6e-7);
  checkMathValues("tanh", std::tanh, with(spread(-10, 10)), 6e-7);
  checkMathValues("erf", std::erf, with(spread(-4, 4)), 6e-7);
  checkMathValues("sqrt", std::sqrt, spread(0, 100), 2e-7);
  checkMath("sin", std::sin, -1000, 1000, 2e-7);
  checkMath("cos", std::cos, -1000, 1000, 2e-7);
  checkMath("rsqrt", [](double x) { return 1 / std::sqrt(x); }, 0.1, 9, 2e-7);
  checkMath("absf", std::fabs, -3, 3, 0);
  checkMath("floor", std::floor, -3, 3, 0);
  checkMath("log2", std::log2, 0.1, 9, 2e-7);
  checkMath("atan", std::atan, -3, 3, 2e-7);
}

void checkPointwise(int64_t rows, int64_t columns) {
  std::string matrix = tensor({rows, columns}, "FT"), row = tensor({columns}, "FT"), column = tensor({rows}, "FT"), mask = tensor({rows, columns}, "i1");
  Case c;
  c.name = name("pointwise", {rows, columns});
  c.body = "%half = arith.constant dense<0.5> : " + matrix + "\n%zero = arith.constant dense<0.0> : " + matrix +
           "\n%br = tile.broadcast %b [1] : " + row + " -> " + matrix + "\n%bc = tile.broadcast %c [0] : " + column + " -> " + matrix +
           "\n%s = tile.reduce add %c axis 0 : " + column + " -> FT\n%bs = tile.broadcast %s [] : FT -> " + matrix +
           "\n%1 = arith.mulf %a, %bc : " + matrix + "\n%2 = arith.addf %1, %br : " + matrix + "\n%3 = arith.subf %2, %bs : " + matrix +
           "\n%m = arith.cmpf ogt, %3, %half : " + matrix + "\n%4 = arith.negf %3 : " + matrix +
           "\n%r0 = arith.select %m, %4, %zero : " + mask + ", " + matrix + "\n%5 = arith.select %m, %zero, %3 : " + mask + ", " + matrix + "\n%r1 = tile.reduce add %5 axis 0 : " + matrix + " -> " + row + "\n%6 = arith.mulf %a, %br : " + matrix +
           "\n%r2 = tile.reduce add %6 axis 1 : " + matrix + " -> " + column + "\n%r3 = tile.reduce max %a axis 1 : " + matrix + " -> " + column +
           "\n%r4 = tile.reduce max %a axis 0 : " + matrix + " -> " + row + "\n%r5 = tile.transpose %a : " + matrix + " -> " + tensor({columns, rows}, "FT") +
           "\n%r6 = tile.broadcast %c [0] : " + column + " -> " + matrix + "\n";
  c.inputs = {{{rows, columns}, randomArray(rows * columns)}, {{columns}, randomArray(columns)}, {{rows}, randomArray(rows)}};
  c.outputs = {{rows, columns}, {columns}, {rows}, {rows}, {columns}, {columns, rows}, {rows, columns}};
  c.expected = [=](const std::vector<Array> &in) {
    std::vector<Array> out = {Array(rows * columns), Array(columns), Array(rows), Array(rows, -kInf), Array(columns, -kInf), Array(rows * columns), Array(rows * columns)};
    double sum = 0;
    for (double x : in[2])
      sum += x;
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < columns; ++j) {
        double a = in[0][i * columns + j], x = a * in[2][i] + in[1][j] - sum;
        out[0][i * columns + j] = x > 0.5 ? -x : 0;
        out[1][j] += x > 0.5 ? 0 : x;
        out[2][i] += a * in[1][j];
        out[3][i] = std::max(out[3][i], a);
        out[4][j] = std::max(out[4][j], a);
        out[5][j * rows + i] = a;
        out[6][i * columns + j] = in[2][i];
      }
    return out;
  };
  check(c);
}

void checkRank3() {
  Case c;
  c.name = "rank 3";
  c.body = "%br = tile.broadcast %b [0, 2] : tensor<5x9xFT> -> tensor<5x3x9xFT>\n%1 = arith.mulf %a, %br : tensor<5x3x9xFT>\n"
           "%r0 = tile.reduce add %1 axis 1 : tensor<5x3x9xFT> -> tensor<5x9xFT>\n%r1 = tile.reduce add %1 axis 0 : tensor<5x3x9xFT> -> tensor<3x9xFT>\n"
           "%r2 = tile.reduce add %1 axis 2 : tensor<5x3x9xFT> -> tensor<5x3xFT>\n"
           "%s = tensor.extract_slice %a[1, 0, 2] [3, 3, 4] [1, 1, 2] : tensor<5x3x9xFT> to tensor<3x3x4xFT>\n"
           "%f = tensor.collapse_shape %s [[0, 1], [2]] : tensor<3x3x4xFT> into tensor<9x4xFT>\n%r3 = arith.addf %f, %f : tensor<9x4xFT>\n"
           "%r4 = tensor.insert_slice %s into %a[2, 0, 0] [3, 3, 4] [1, 1, 1] : tensor<3x3x4xFT> into tensor<5x3x9xFT>\n"
           "%r5 = tensor.concat dim(1) %b, %b : (tensor<5x9xFT>, tensor<5x9xFT>) -> tensor<5x18xFT>\n";
  c.inputs = {{{5, 3, 9}, randomArray(135)}, {{5, 9}, randomArray(45)}};
  c.outputs = {{5, 9}, {3, 9}, {5, 3}, {9, 4}, {5, 3, 9}, {5, 18}};
  c.expected = [](const std::vector<Array> &in) {
    std::vector<Array> out = {Array(45), Array(27), Array(15), Array(36), in[0], Array(90)};
    for (int i = 0; i < 5; ++i)
      for (int j = 0; j < 3; ++j)
        for (int k = 0; k < 9; ++k) {
          double x = in[0][(i * 3 + j) * 9 + k] * in[1][i * 9 + k];
          out[0][i * 9 + k] += x, out[1][j * 9 + k] += x, out[2][i * 3 + j] += x;
          out[5][i * 18 + k] = out[5][i * 18 + 9 + k] = in[1][i * 9 + k];
        }
    for (int i = 0; i < 3; ++i)
      for (int j = 0; j < 3; ++j)
        for (int k = 0; k < 4; ++k) {
          double x = in[0][((i + 1) * 3 + j) * 9 + 2 + 2 * k];
          out[3][(i * 3 + j) * 4 + k] = 2 * x;
          out[4][((i + 2) * 3 + j) * 9 + k] = x;
        }
    return out;
  };
  check(c);
}

void checkLoop() {
  Case c; // carries that swap, one updated in place, one kept
  c.name = "loop";
  c.body = "%c0 = arith.constant 0 : index\n%c1 = arith.constant 1 : index\n%c5 = arith.constant 5 : index\n%z = arith.constant dense<0.0> : tensor<7x9xFT>\n"
           "%n0 = arith.constant 0.0 : FT\n%one = arith.constant 1.0 : FT\n"
           "%r0, %r1, %r2, %n = scf.for %i = %c0 to %c5 step %c1 iter_args(%x = %a, %y = %b, %s = %z, %k = %n0) -> (tensor<7x9xFT>, tensor<7x9xFT>, tensor<7x9xFT>, FT) {\n"
           "  %kb = tile.broadcast %k [] : FT -> tensor<7x9xFT>\n  %p = arith.mulf %x, %kb : tensor<7x9xFT>\n  %s1 = arith.addf %s, %p : tensor<7x9xFT>\n"
           "  %k1 = arith.addf %k, %one : FT\n  scf.yield %y, %x, %s1, %k1 : tensor<7x9xFT>, tensor<7x9xFT>, tensor<7x9xFT>, FT\n}\n"
           "%r3 = tile.broadcast %n [] : FT -> tensor<2xFT>";
  c.inputs = {{{7, 9}, randomArray(63)}, {{7, 9}, randomArray(63)}};
  c.outputs = {{7, 9}, {7, 9}, {7, 9}, {2}};
  c.expected = [](const std::vector<Array> &in) {
    Array sum(63);
    for (int i = 0; i < 63; ++i)
      sum[i] = (0 + 2 + 4) * in[0][i] + (1 + 3) * in[1][i];
    return std::vector<Array>{in[1], in[0], sum, {5, 5}};
  };
  check(c);
}

} // namespace

int main() {
  double start = now();
  checkPointwise(3, 3);
  for (int64_t rows : {1, 7, 17, 65})
    for (int64_t columns : {1, 7, 17, 65, 130})
      checkPointwise(rows, columns);
  checkRank3();
  checkLoop();
  testMath();
  for (int64_t n : {1, 7, 17, 64, 65, 130}) {
    checkInverse(n, false);
    checkInverse(n, true);
    for (bool x : {false, true})
      for (bool y : {false, true}) {
        checkCumsum({n}, x, y);
        checkCumsum({n, 7, 3}, x, y);
        if (!x || y)
          checkSegsum(n, x, y);
      }
    for (int64_t level : {1, 4, 32})
      for (bool pre : {false, true}) {
        checkLevelDecay({n, 17}, level, pre);
        checkLevelDecay({n}, level, pre);
      }
  }
  for (const char *kind : {"linear", "log", "max"})
    for (const Shape &shape : std::vector<Shape>{{1}, {17}, {7, 1}, {65, 7}, {17, 65}, {5, 3, 7}})
      checkScan(kind, shape);
  testDots();
  std::printf("%d results, %d failures, %.1f s\n", cases, failures, now() - start);
  return failures ? 1 : 0;
}
