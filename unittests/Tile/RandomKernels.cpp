//===- RandomKernels.cpp - random tile kernels ----------------------------===//
#include "RandomKernels.h"

#include <map>
#include <random>
#include <vector>

namespace {

using Shape = std::vector<int64_t>;

std::string dims(const Shape &shape) {
  std::string text;
  for (int64_t size : shape)
    text += std::to_string(size) + "x";
  return text;
}
std::string tensor(const Shape &shape, const char *element = "f32") { return shape.empty() ? element : "tensor<" + dims(shape) + element + ">"; }

constexpr int64_t kTokens = 8;

class Maker {
public:
  explicit Maker(uint64_t seed) : engine(seed) {}

  std::string text() {
    for (const Shape &shape : {Shape{kTokens, 3}, Shape{kTokens, 5}, Shape{kTokens, 6}, Shape{kTokens}})
      load(shape, true);
    for (const Shape &shape : {Shape{3, 5}, Shape{5, 6}, Shape{6, 3}, Shape{5, 5}, Shape{3}, Shape{5}, Shape{6}, Shape{3, 5, 2}})
      load(shape, false);
    for (int steps = 0; steps < 80; ++steps)
      step();
    return "tile.kernel @k(" + arguments + ") attributes {chunk = 8 : i64, blocks = 1 : i64} {\n%c = arith.constant 0 : index\n" + body + "}\n";
  }

private:
  int64_t below(int64_t bound) { return static_cast<int64_t>(engine() % bound); }
  bool coin() { return below(2); }

  void load(Shape shape, bool token) {
    std::string number = std::to_string(next), inner = dims(token ? Shape(shape.begin() + 1, shape.end()) : shape);
    std::string buffer = std::string("<") + (token ? "token, " : "param, ") + inner + "f32>";
    arguments += (next ? ", %p" : "%p") + number + ": !tile.buffer" + buffer;
    std::string value = define(shape, "tile.load %p" + number + (token ? "[%c]" : "") + " : " + buffer + " -> " + tensor(shape));
    // Beyond the buffer this is 1 / 0.
    std::string one = define(shape, "arith.constant dense<1.0> : " + tensor(shape), false);
    define(shape, "arith.divf " + one + ", " + value + " : " + tensor(shape));
  }

  /// A line that defines a tile; `keep`: one that is stored and used again.
  std::string define(const Shape &shape, const std::string &what, bool keep = true) {
    std::string name = "%t" + std::to_string(next++);
    body += name + " = " + what + "\n";
    if (keep) {
      tiles.push_back({name, shape});
      if (!shape.empty())
        store(name, shape);
    }
    return name;
  }
  void store(const std::string &name, const Shape &shape) {
    std::string to = "%q" + name.substr(2), buffer = "<state, " + dims(shape) + "f32>";
    arguments += ", out " + to + ": !tile.buffer" + buffer;
    body += "tile.store " + name + ", " + to + " : " + tensor(shape) + ", " + buffer + "\n";
  }
  /// Numbers that stay in range, whatever they were.
  std::string bounded(const std::string &name, const Shape &shape) { return define(shape, "math.sin " + name + " : " + tensor(shape), false); }

  struct Tile {
    std::string name;
    Shape shape;
  };
  /// Often one of the last, so that operations meet.
  Tile any() { return coin() ? tiles[tiles.size() - 1 - below(6)] : tiles[below(tiles.size())]; }
  /// A tile of this shape: a sine of one that there is, or a constant.
  std::string of(const Shape &shape) {
    std::vector<std::string> fitting;
    for (const Tile &tile : tiles)
      if (tile.shape == shape)
        fitting.push_back(tile.name);
    if (fitting.empty())
      return define(shape, shape.empty() ? "arith.constant 0.75 : f32" : "arith.constant dense<0.75> : " + tensor(shape), false);
    return bounded(fitting[below(fitting.size())], shape);
  }
  int64_t size() { return std::vector<int64_t>{3, 5, 6, kTokens}[below(4)]; }

  void step() {
    switch (below(13)) {
    case 0:
      return unary();
    case 1:
      return binary();
    case 2:
      return reduce();
    case 3:
    case 12:
      return broadcast();
    case 4:
    case 5:
      return dot();
    case 6:
      return transposeOrInverse();
    case 7:
      return alongTokens();
    case 8:
      return scan();
    case 9:
      return slice();
    case 10:
      return insert();
    case 11:
      return reshape();
    }
  }

  void unary() {
    Tile x = any();
    std::string value = bounded(x.name, x.shape);
    define(x.shape, std::vector<std::string>{"math.cos ", "math.exp ", "arith.negf ", "math.absf "}[below(4)] + value + " : " + tensor(x.shape));
  }
  void binary() {
    Tile x = any();
    std::string op = std::vector<std::string>{"arith.addf ", "arith.mulf ", "arith.subf ", "arith.maximumf "}[below(4)];
    define(x.shape, op + bounded(x.name, x.shape) + ", " + of(x.shape) + " : " + tensor(x.shape));
  }
  void reduce() {
    Tile x = any();
    if (x.shape.empty())
      return;
    int64_t axis = below(x.shape.size());
    Shape rest(x.shape);
    rest.erase(rest.begin() + axis);
    define(rest, std::string("tile.reduce ") + (coin() ? "add " : "max ") + x.name + " axis " + std::to_string(axis) + " : " + tensor(x.shape) +
                     " -> " + tensor(rest));
  }
  void broadcast() {
    Tile x = any();
    if (x.shape.size() > 1)
      x = tiles[below(tiles.size())];
    if (x.shape.size() > 1)
      return;
    bool first = coin();
    Shape to = x.shape.empty() ? Shape{size(), size()} : first ? Shape{x.shape[0], size()} : Shape{size(), x.shape[0]};
    define(to, "tile.broadcast " + x.name + (x.shape.empty() ? " []" : first ? " [0]" : " [1]") + " : " + tensor(x.shape) + " -> " + tensor(to));
  }
  void dot() {
    int64_t m = size(), n = size(), k = size();
    bool ta = coin(), tb = coin(), causal = coin() && (tb && !ta ? m == n : m == k);
    Shape a = ta ? Shape{k, m} : Shape{m, k}, b = tb ? Shape{n, k} : Shape{k, n}, c{m, n};
    bool init = !(causal && tb && !ta) && coin();
    std::string x = of(a), y = of(b), z = init ? " init(" + of(c) + " : " + tensor(c) + ")" : "";
    std::string flags = ta && tb ? " {transpose_a, transpose_b}" : ta ? " {transpose_a}" : tb ? " {transpose_b}" : "";
    define(c, "tile.dot " + x + ", " + y + z + (causal ? " pairs(causal)" : "") + flags + " : " + tensor(a) + ", " + tensor(b) + " -> " + tensor(c));
  }
  void transposeOrInverse() {
    int64_t n = size(), m = coin() ? n : size();
    std::string x = of({n, m});
    if (n == m && coin())
      define({n, n}, "tile.inverse " + x + " : " + tensor({n, n}));
    else
      define({m, n}, "tile.transpose " + x + " : " + tensor({n, m}) + " -> " + tensor({m, n}));
  }
  void alongTokens() {
    Shape rows{kTokens, size()};
    std::string x = of(rows), type = tensor(rows), vector = tensor({kTokens});
    switch (below(4)) {
    case 0:
      define(rows, "tile.cumsum " + x + (coin() ? " {reverse}" : " {exclusive}") + " : " + type);
      break;
    case 1:
      define(rows, "tile.level_decay " + x + " 2 : " + type);
      break;
    case 2:
      define(rows, "tile.level_decay_grad " + x + " 4 {pre} : " + type);
      break;
    case 3: {
      std::string d = define({kTokens, kTokens}, "tile.segsum " + of({kTokens}) + " : " + vector + " -> " + tensor({kTokens, kTokens}), false);
      define({kTokens, kTokens}, "math.exp " + d + " : " + tensor({kTokens, kTokens}));
      break;
    }
    }
  }
  void scan() {
    Shape rows{kTokens, size()}, row{rows[1]};
    std::string a = of(rows), x = of(rows), h = of(row), kind = coin() ? "linear " : "max ", types = " : " + tensor(row) + ", " + tensor(rows);
    std::string number = std::to_string(next++), prev = "%t" + number + "_prev", after = "%t" + number + "_next", last = "%t" + number + "_last";
    body += prev + ", " + after + ", " + last + " = tile.scan " + kind + h + ", " + a + ", " + x + types + "\n";
    std::string di = "%t" + number + "_di", da = "%t" + number + "_da", dx = "%t" + number + "_dx";
    body += di + ", " + da + ", " + dx + " = tile.scan_grad " + kind + a + ", " + x + ", " + prev + ", " + after + ", " + of(rows) + ", " + of(rows) +
            ", " + of(row) + types + "\n";
    for (const std::string &name : {prev, after, da, dx})
      tiles.push_back({name, rows}), store(name, rows);
    for (const std::string &name : {last, di})
      tiles.push_back({name, row}), store(name, row);
  }
  void slice() {
    Tile x = any();
    if (x.shape.size() != 2)
      return;
    int64_t stride = 1 + below(2), room = x.shape[1], count = 1 + below((room + stride - 1) / stride), start = below(room - (count - 1) * stride);
    Shape part{x.shape[0], count};
    define(part, "tensor.extract_slice " + x.name + "[0, " + std::to_string(start) + "] [" + std::to_string(part[0]) + ", " + std::to_string(count) +
                     "] [1, " + std::to_string(stride) + "] : " + tensor(x.shape) + " to " + tensor(part));
  }
  void insert() {
    Tile x = any();
    if (x.shape.size() != 2)
      return;
    int64_t stride = 1 + below(2), room = x.shape[1], count = 1 + below((room + stride - 1) / stride), start = below(room - (count - 1) * stride);
    Shape part{x.shape[0], count};
    define(x.shape, "tensor.insert_slice " + of(part) + " into " + x.name + "[0, " + std::to_string(start) + "] [" + std::to_string(part[0]) + ", " +
                        std::to_string(count) + "] [1, " + std::to_string(stride) + "] : " + tensor(part) + " into " + tensor(x.shape));
  }
  void reshape() {
    Tile x = any();
    if (x.shape.size() != 2)
      return;
    Shape wide{x.shape[0], 1, x.shape[1]};
    std::string value = define(wide, "tensor.expand_shape " + x.name + " [[0, 1], [2]] output_shape [" + std::to_string(wide[0]) + ", 1, " +
                                         std::to_string(wide[2]) + "] : " + tensor(x.shape) + " into " + tensor(wide));
    define(x.shape, "tensor.collapse_shape " + value + " [[0], [1, 2]] : " + tensor(wide) + " into " + tensor(x.shape));
  }

  std::mt19937_64 engine;
  int64_t next = 0;
  std::string arguments, body;
  std::vector<Tile> tiles;
};

} // namespace

std::string fla::testing::randomKernel(uint64_t seed) { return Maker(seed).text(); }
