//===- GeneratedOps.cpp - every tile operation on every family of chips ---===//
#include "Generated.h"

#include "fla/Dialect/Tile/IR/Tile.h"
#include "mlir/Parser/Parser.h"
#include <cmath>
#include <cstdio>
#include <limits>
#include <random>

using namespace fla;
using namespace fla::testing;

namespace {

/// A body over the tiles %a, %b (matrices) and %u (a number a token) that defines
/// %r0, %r1, ...: MAT is a matrix, VEC one number a token.
struct Operation {
  std::string name, body;
  std::vector<std::string> results; ///< MAT or VEC
  int64_t size = 32;                ///< of both axes
};

void replaceAll(std::string &text, const std::string &from, const std::string &to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
}

std::string kernelText(const Operation &op, const std::string &element) {
  std::string arguments, stores;
  for (auto [i, type] : llvm::enumerate(op.results)) {
    std::string number = std::to_string(i), buffer = type == "MAT" ? "<token, Nxf32>" : "<token, f32>";
    arguments += ", out %q" + number + ": !tile.buffer" + buffer;
    stores += "tile.store %r" + number + ", %q" + number + "[%c] : " + type + ", " + buffer + "\n";
  }
  std::string text = "tile.kernel @k(%pa: !tile.buffer<token, NxE>, %pb: !tile.buffer<token, NxE>, %pu: !tile.buffer<token, f32>" + arguments +
                     ") attributes {chunk = N : i64, blocks = 1 : i64} {\n"
                     "%c0 = arith.constant 0 : index\n%c1 = arith.constant 1 : index\n%count = tile.num_chunks\n"
                     "scf.for %c = %c0 to %count step %c1 {\n"
                     "%a = tile.load %pa[%c] : <token, NxE> -> MAT\n%b = tile.load %pb[%c] : <token, NxE> -> MAT\n"
                     "%u = tile.load %pu[%c] : <token, f32> -> VEC\n" +
                     op.body + "\n" + stores + "}\n}\n";
  replaceAll(text, "E>", element + ">");
  replaceAll(text, "MAT", "tensor<NxNxf32>");
  replaceAll(text, "VEC", "tensor<Nxf32>");
  replaceAll(text, "N", std::to_string(op.size));
  return text;
}

std::vector<double> numbers(int64_t count, double low, double high) {
  static std::mt19937_64 engine(7);
  std::vector<double> values(count);
  for (double &x : values)
    x = low + (high - low) * ((engine() >> 11) * 0x1.0p-53);
  return values;
}

void run(const Operation &op, const std::string &chip, const std::string &element) {
  constexpr int64_t heads = 2;
  int64_t tokens = op.size + 8;
  std::string text = kernelText(op, element == "tf32" ? "f32" : element);
  auto module = mlir::parseSourceString<mlir::ModuleOp>(text, context());
  if (!module) {
    ++failures;
    std::printf("FAIL %s: cannot parse\n%s\n", op.name.c_str(), text.c_str());
    return;
  }
  // Products round their operands; nothing else does. (Cut off to tf32 they would be wrong by 7.5e-4 or more.)
  bool isExact = element == "f32" || op.name.find("dot") != 0;
  Trial trial{op.name + " (" + element + ")", {chip, {}, {}}, isExact ? 1e-5 : element == "tf32" ? 5e-4 : 1e-2};
  if (element == "tf32")
    (*module)->setAttr("fla.precision", mlir::StringAttr::get(context(), element));
  trial.run.launch.tokens = tokens;
  trial.run.launch.heads = heads;
  auto kernel = *module->getOps<tile::KernelOp>().begin();
  for (unsigned i = 0; i < 3; ++i) {
    auto type = mlir::cast<tile::BufferType>(kernel.getBody().getArgument(i).getType());
    auto values = i == 2 ? numbers(tokens * heads, -2, 0) : numbers(tokens * heads * op.size, -0.4, 0.3);
    if (i == 2 && op.name.find("segsum") == 0) // gates that forget everything
      values[heads * 5] = values[heads * (op.size - 2) + 1] = -std::numeric_limits<double>::infinity();
    roundTo(type.getElementType(), values);
    trial.run.given[kernel.getArgName(i).str()] = {values, heads};
  }
  compare(*module, trial);
}

std::vector<Operation> dots() {
  std::vector<Operation> list;
  for (const char *pairs : {"all", "causal", "strict", "diagonal", "level"})
    for (int form = 0; form < 4; ++form) {
      std::string attributes = form == 3 ? " {transpose_a, transpose_b}" : form == 1 ? " {transpose_a}" : form == 2 ? " {transpose_b}" : "";
      std::string which =
          std::string(" pairs(") + pairs + ")" + (pairs == std::string("level") ? " level 4" : "") + attributes + " : MAT, MAT -> MAT";
      Operation op{"dot" + which, "%r0 = tile.dot %a, %b" + which, {"MAT"}};
      if (form != 2 || pairs == std::string("all")) {
        op.body += "\n%r1 = tile.dot %a, %b init(%a : MAT)" + which;
        op.results.push_back("MAT");
      }
      list.push_back(op);
    }
  list.push_back({"dot of a dot",
                  "%x = tile.dot %a, %b {transpose_b} : MAT, MAT -> MAT\n%r0 = tile.dot %x, %b pairs(causal) : MAT, MAT -> MAT\n"
                  "%y = arith.addf %x, %r0 : MAT\n%r1 = tile.dot %a, %y {transpose_a} : MAT, MAT -> MAT",
                  {"MAT", "MAT"}});
  return list;
}

std::vector<Operation> alongTokens() {
  std::vector<Operation> list;
  for (const char *flags : {"", "reverse", "exclusive", "reverse, exclusive"})
    list.push_back({std::string("cumsum ") + flags,
                    std::string("%r0 = tile.cumsum %a {") + flags + "} : MAT\n%r1 = tile.cumsum %u {" + flags + "} : VEC",
                    {"MAT", "VEC"}});
  for (const char *flags : {"", "strict", "pre"})
    list.push_back({std::string("segsum ") + flags,
                    std::string("%r0 = tile.segsum %u {") + flags + "} : VEC -> MAT\n%r1 = tile.segsum_grad %a {" + flags + "} : MAT -> VEC",
                    {"MAT", "VEC"}});
  for (const char *level : {"1", "4", "16"})
    for (const char *flags : {"", " {pre}"})
      list.push_back(
          {std::string("level_decay ") + level + flags,
           std::string("%r0 = tile.level_decay %a ") + level + flags + " : MAT\n%r1 = tile.level_decay_grad %a " + level + flags + " : MAT",
           {"MAT", "MAT"}});
  for (const char *kind : {"linear", "log", "max"})
    list.push_back({std::string("scan ") + kind,
                    "%z = arith.constant dense<0.25> : VEC\n%r0, %r1, %l = tile.scan " + std::string(kind) +
                        " %z, %a, %b : VEC, MAT\n"
                        "%r2 = tile.broadcast %l [1] : VEC -> MAT\n"
                        "%di, %r3, %r4 = tile.scan_grad " +
                        kind + " %a, %b, %r0, %r1, %b, %a, %l : VEC, MAT\n%r5 = tile.broadcast %di [1] : VEC -> MAT",
                    {"MAT", "MAT", "MAT", "MAT", "MAT", "MAT"}});
  return list;
}

std::vector<Operation> inverses() { return {{"inverse", "%r0 = tile.inverse %a : MAT", {"MAT"}}}; }

std::vector<Operation> others() {
  return {
      {"inverse", "%r0 = tile.inverse %a : MAT", {"MAT"}},
      {"transpose", "%r0 = tile.transpose %a : MAT -> MAT", {"MAT"}},
      {"reduce",
       "%r0 = tile.reduce add %a axis 1 : MAT -> VEC\n%r1 = tile.reduce max %a axis 1 : MAT -> VEC\n"
       "%x = tile.reduce add %a axis 0 : MAT -> VEC\n%r2 = tile.broadcast %x [1] : VEC -> MAT\n"
       "%y = tile.reduce max %a axis 0 : MAT -> VEC\n%r3 = tile.broadcast %y [0] : VEC -> MAT\n"
       "%s = tile.reduce add %u axis 0 : VEC -> f32\n%r4 = tile.broadcast %s [] : f32 -> VEC",
       {"VEC", "VEC", "MAT", "MAT", "VEC"}},
      {"valid",
       "%v = tile.valid %c : tensor<32xi1>\n%one = arith.constant dense<1.0> : VEC\n%e = math.exp %u : VEC\n%r0 = arith.select %v, %e, %one : "
       "tensor<32xi1>, VEC\n"
       "%s = tile.reduce add %r0 axis 0 : VEC -> f32\n%r1 = tile.broadcast %s [] : f32 -> VEC",
       {"VEC", "VEC"}},
      {"slices",
       "%x = tensor.extract_slice %a[0, 16] [32, 16] [1, 1] : MAT to tensor<32x16xf32>\n%y = tensor.extract_slice %b[0, 0] [32, 16] [1, 1] : MAT to "
       "tensor<32x16xf32>\n"
       "%z = arith.addf %x, %y : tensor<32x16xf32>\n%r0 = tensor.insert_slice %z into %a[0, 0] [32, 16] [1, 1] : tensor<32x16xf32> into MAT\n"
       "%p = tensor.extract_slice %a[16, 0] [16, 32] [1, 1] : MAT to tensor<16x32xf32>\n"
       "%r1 = tensor.insert_slice %p into %b[0, 0] [16, 32] [1, 1] : tensor<16x32xf32> into MAT\n"
       "%f = tensor.collapse_shape %p [[0, 1]] : tensor<16x32xf32> into tensor<512xf32>\n"
       "%g = tensor.expand_shape %f [[0, 1]] output_shape [32, 16] : tensor<512xf32> into tensor<32x16xf32>\n"
       "%r2 = tensor.insert_slice %g into %a[0, 16] [32, 16] [1, 1] : tensor<32x16xf32> into MAT",
       {"MAT", "MAT", "MAT"}},
  };
}

} // namespace

void testing::testOperations(const std::string &chip, const std::string &element) {
  for (auto list : {dots(), alongTokens(), others()})
    for (const Operation &op : list)
      run(op, chip, element);
  // Chunks of other lengths are spread over threads in other ways.
  for (int64_t size : {8, 16, 64})
    for (auto list : {alongTokens(), inverses()})
      for (Operation &op : list) {
        op.name += " of " + std::to_string(op.size = size);
        run(op, chip, element);
      }
}
