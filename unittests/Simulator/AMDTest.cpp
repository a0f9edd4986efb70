//===- AMDTest.cpp - matrix cores, exchanges, fences, buffers -------------===//
#include "Harness.h"

#include <cstring>

using namespace fla::sim;
using namespace fla::sim::test;

static SimulateOptions lanes(unsigned count) {
  SimulateOptions options;
  options.lanes = count;
  return options;
}

static void replaceAll(std::string &text, const std::string &what, const std::string &with) {
  for (size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += with.size())
    text.replace(at, what.size(), with);
}

//===----------------------------------------------------------------------===//
// MFMA and WMMA
//===----------------------------------------------------------------------===//

namespace {
/// An instruction: A is size x depth by rows, B likewise but transposed; a lane loads `width` neighbours of each.
struct Instruction {
  const char *name;
  unsigned lanes, size, depth, width;
  const char *held;  ///< an operand as the instruction takes it
  const char *tail;  ///< what follows the operands
  const char *types; ///< of the tail
  bool half;         ///< f16 rather than bf16
  bool wholeRows;    ///< the upper half of the wave repeats the lower
  /// Row of a lane's i-th result, in terms of its group of `size` lanes.
  unsigned (*row)(unsigned group, unsigned i);
};
} // namespace

static unsigned rowOf16(unsigned group, unsigned i) { return 4 * group + i; }
static unsigned rowOf32(unsigned group, unsigned i) { return 8 * (i / 4) + 4 * group + i % 4; }
static unsigned rowOfRdna3(unsigned group, unsigned i) { return 2 * i + group; }
static unsigned rowOfRdna4(unsigned group, unsigned i) { return 8 * group + i; }

static const Instruction instructions[] = {
    {"rocdl.mfma.f32.16x16x16bf16.1k", 64, 16, 16, 4, "vector<4xi16>", ", %c0, %c0, %c0", ", i32, i32, i32", false, false, rowOf16},
    {"rocdl.mfma.f32.16x16x16f16", 64, 16, 16, 4, "vector<4xf16>", ", %c0, %c0, %c0", ", i32, i32, i32", true, false, rowOf16},
    {"rocdl.mfma.f32.32x32x8bf16.1k", 64, 32, 8, 4, "vector<4xi16>", ", %c0, %c0, %c0", ", i32, i32, i32", false, false, rowOf32},
    {"rocdl.mfma.f32.32x32x8f16", 64, 32, 8, 4, "vector<4xf16>", ", %c0, %c0, %c0", ", i32, i32, i32", true, false, rowOf32},
    {"rocdl.mfma.f32.16x16x32.bf16", 64, 16, 32, 8, "vector<8xbf16>", ", %c0, %c0, %c0", ", i32, i32, i32", false, false, rowOf16},
    {"rocdl.mfma.f32.32x32x16.f16", 64, 32, 16, 8, "vector<8xf16>", ", %c0, %c0, %c0", ", i32, i32, i32", true, false, rowOf32},
    {"rocdl.wmma.f32.16x16x16.bf16", 32, 16, 16, 16, "vector<16xi16>", "", "", false, true, rowOfRdna3},
    {"rocdl.wmma.f32.16x16x16.f16", 32, 16, 16, 16, "vector<16xf16>", "", "", true, true, rowOfRdna3},
    {"rocdl.wmma.f32.16x16x16.bf16", 32, 16, 16, 8, "vector<8xi16>", "", "", false, false, rowOfRdna4},
    {"rocdl.wmma.f32.16x16x16.f16", 32, 16, 16, 8, "vector<8xf16>", "", "", true, false, rowOfRdna4},
};

/// Stores row i of a lane's results: a select between the rows of its groups.
static std::string storeOf(const Instruction &x, unsigned i) {
  std::string n = std::to_string(i);
  unsigned first = x.row(0, i), step = x.row(1, i) - first;
  return "%i" + n + " = arith.constant " + std::to_string(i) + " : i32\n %d" + n + " = llvm.extractelement %d[%i" + n + " : i32] : ACC\n" + " %f" +
         n + " = arith.constant " + std::to_string(first) + " : i32\n %s" + n + " = arith.constant " + std::to_string(step) + " : i32\n" + " %g" + n +
         " = arith.muli %group, %s" + n + " : i32\n %r" + n + " = arith.addi %g" + n + ", %f" + n + " : i32\n" + " %m" + n + " = arith.muli %r" + n +
         ", %size : i32\n %o" + n + " = arith.addi %m" + n + ", %row : i32\n" + " %q" + n + " = llvm.getelementptr %c[%o" + n +
         "] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32\n llvm.store %d" + n + ", %q" + n + " : f32, !llvm.ptr<1>\n";
}

static std::string kernelOf(const Instruction &x) {
  std::string text = R"mlir(
llvm.func @k(%a: !llvm.ptr<1>, %b: !llvm.ptr<1>, %c: !llvm.ptr<1>) {
  %t = rocdl.workitem.id.x : i32
  %c0 = llvm.mlir.constant(0 : i32) : i32
  %size = arith.constant SIZE : i32
  %width = arith.constant WIDTH : i32
  %depth = arith.constant DEPTH : i32
  %row = arith.remui %t, %size : i32
  %group = arith.divui %t, %size : i32
  %start = arith.muli %row, %depth : i32
  %in = arith.muli COLUMN, %width : i32
  %at = arith.addi %start, %in : i32
  %pa = llvm.getelementptr %a[%at] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i16
  %pb = llvm.getelementptr %b[%at] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i16
  %x = llvm.load %pa : !llvm.ptr<1> -> HELD
  %y = llvm.load %pb : !llvm.ptr<1> -> HELD
  %z = llvm.mlir.constant(dense<0.0> : ACC) : ACC
  %d = NAME %x, %y, %z TAIL : (HELD, HELD, ACC TYPES) -> ACC
)mlir";
  unsigned results = x.size * x.size / x.lanes;
  for (unsigned i = 0; i < results; ++i)
    text += storeOf(x, i);
  text += "  llvm.return\n}";
  replaceAll(text, "SIZE", std::to_string(x.size));
  replaceAll(text, "WIDTH", std::to_string(x.width));
  replaceAll(text, "DEPTH", std::to_string(x.depth));
  replaceAll(text, "COLUMN", x.wholeRows ? "%c0" : "%group");
  replaceAll(text, "HELD", x.held);
  replaceAll(text, "NAME", x.name);
  replaceAll(text, "TAIL", x.tail);
  replaceAll(text, "TYPES", x.types);
  replaceAll(text, "ACC", "vector<" + std::to_string(results) + "xf32>");
  return text;
}

static Report runProduct(const Instruction &x, const std::string &text, std::vector<float> &c, std::vector<float> &want) {
  auto round = x.half ? toHalf : toBfloat;
  std::vector<uint16_t> a = rounded(numbers(x.size * x.depth, 11), round), b = rounded(numbers(x.size * x.depth, 12), round), transposed(b.size());
  for (unsigned j = 0; j < x.size; ++j)
    for (unsigned l = 0; l < x.depth; ++l)
      transposed[j * x.depth + l] = b[l * x.size + j];
  want = product(a, b, x.size, x.size, x.depth, x.half ? fromHalf : fromBfloat);
  c.assign(x.size * x.size, 0);
  Memory memory;
  uint64_t pa = memory.add(a.data(), a.size() * 2, "a"), pb = memory.add(transposed.data(), b.size() * 2, "b"),
           pc = memory.add(c.data(), c.size() * 4, "c");
  return run({text, {pa, pb, pc}, 1, int64_t(x.lanes), 0, lanes(x.lanes)}, memory);
}

static void testProducts() {
  std::vector<float> c, want;
  for (const Instruction &x : instructions) {
    std::string what = std::string(x.name) + " of " + x.held;
    expectClean(runProduct(x, kernelOf(x), c, want), what);
    expectNear(c, want, 1e-6, what);
  }
}

// Operands that RDNA 3 wants twice, but the upper half of the wave has something else.
static void testWmmaCopies() {
  std::vector<float> c, want;
  const Instruction &x = instructions[6];
  std::string broken = without(kernelOf(x), "%row = arith.remui %t, %size", "%row = arith.minui %t, %c15");
  broken = without(broken, "%size = arith", "%c15 = arith.constant 15 : i32\n %size = arith");
  expectError(runProduct(x, broken, c, want), ErrorKind::Operand, "rocdl.wmma.f32.16x16x16.bf16", "halves of a wave that differ");
}

// A planted bug: the rows of the result are those of RDNA 4, on RDNA 3.
static void testSwappedRows() {
  std::vector<float> c, want;
  Instruction x = instructions[6];
  x.row = rowOfRdna4;
  expectClean(runProduct(x, kernelOf(x), c, want), "rows of another chip");
  expect(std::abs(c[16] - want[16]) > 1e-3, "rows of another chip give wrong numbers");
}

static void testFloatProducts() {
  const char *text = R"mlir(
llvm.func @k(%a: !llvm.ptr<1>, %c: !llvm.ptr<1>) {
  %t = rocdl.workitem.id.x : i32
  %c0 = llvm.mlir.constant(0 : i32) : i32
  %z = llvm.mlir.constant(dense<0.0> : vector<4xf32>) : vector<4xf32>
  %p = llvm.getelementptr %a[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
  %x = llvm.load %p : !llvm.ptr<1> -> f32
  %d = rocdl.mfma.f32.16x16x4f32 %x, %x, %z, %c0, %c0, %c0 : (f32, f32, vector<4xf32>, i32, i32, i32) -> vector<4xf32>
  %q = llvm.getelementptr %c[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, vector<4xf32>
  llvm.store %d, %q : vector<4xf32>, !llvm.ptr<1>
  llvm.return
})mlir";
  std::vector<float> a = numbers(64, 13), c(256), want(256);
  // Lane 16 l + i holds A[i][l], and B[l][i] too: the result is A times its transpose.
  for (int lane = 0; lane < 64; ++lane)
    for (int i = 0; i < 4; ++i)
      for (int l = 0; l < 4; ++l)
        want[lane * 4 + i] += a[16 * l + lane / 16 * 4 + i] * a[16 * l + lane % 16];
  Memory memory;
  uint64_t pa = memory.add(a.data(), 256, "a"), pc = memory.add(c.data(), 1024, "c");
  expectClean(run({text, {pa, pc}, 1, 64, 0, lanes(64)}, memory), "mfma of f32");
  expectNear(c, want, 1e-6, "mfma of f32");
}

//===----------------------------------------------------------------------===//
// LDS, barriers and fences
//===----------------------------------------------------------------------===//

static const char *reversal = R"mlir(
llvm.mlir.global internal @fla_shared() {addr_space = 3 : i32, alignment = 16 : i64} : !llvm.array<1024 x i8>
llvm.func @k(%a: !llvm.ptr<1>, %b: !llvm.ptr<1>) {
  %t = rocdl.workitem.id.x : i32
  %last = arith.constant 255 : i32
  %s = llvm.mlir.addressof @fla_shared : !llvm.ptr<3>
  %pa = llvm.getelementptr %a[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
  %x = llvm.load %pa : !llvm.ptr<1> -> f32
  %ps = llvm.getelementptr %s[%t] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, f32
  llvm.store %x, %ps : f32, !llvm.ptr<3>
  llvm.fence syncscope("workgroup") release
  rocdl.s.barrier
  llvm.fence syncscope("workgroup") acquire
  %r = arith.subi %last, %t : i32
  %pr = llvm.getelementptr %s[%r] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, f32
  %y = llvm.load %pr : !llvm.ptr<3> -> f32
  %pb = llvm.getelementptr %b[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
  llvm.store %y, %pb : f32, !llvm.ptr<1>
  llvm.return
})mlir";

static void testReversal() {
  std::vector<float> a = numbers(256, 14), b(256), want(a.rbegin(), a.rend());
  Memory memory;
  uint64_t pa = memory.add(a.data(), 1024, "a", Memory::ReadOnly), pb = memory.add(b.data(), 1024, "b");
  auto launch = [&](const std::string &text) { return run({text, {pa, pb}, 1, 256, 0, lanes(64)}, memory); };
  Report report = launch(reversal);
  expectClean(report, "reversal");
  expectNear(b, want, 0, "reversal");
  expect(report.worstConflict() == 1, "reversal without bank conflicts");
  expectError(launch(without(reversal, "rocdl.s.barrier")), ErrorKind::Race, "llvm.load", "a removed barrier");
  expectError(launch(without(reversal, "llvm.fence syncscope(\"workgroup\") release")), ErrorKind::MissingWait, "rocdl.s.barrier",
              "no release fence");
  expectError(launch(without(reversal, "llvm.fence syncscope(\"workgroup\") acquire")), ErrorKind::MissingWait, "llvm.load", "no acquire fence");
  expectError(launch(without(reversal, "%last = arith.constant 255", "%last = arith.constant 256")), ErrorKind::OutOfBounds, "llvm.load",
              "one beyond the LDS");
}

//===----------------------------------------------------------------------===//
// Exchanges
//===----------------------------------------------------------------------===//

static const char *exchanges = R"mlir(
llvm.func @k(%out: !llvm.ptr<1>) {
  %t = rocdl.workitem.id.x : i32
  %c4 = arith.constant 4 : i32
  %c5 = arith.constant 5 : i32
  %c7 = arith.constant 7 : i32
  %n = arith.addi %t, %c5 : i32
  %byte = arith.muli %n, %c4 : i32
  %a = rocdl.ds_bpermute %byte, %t : (i32, i32) -> i32
  %b = rocdl.readlane %t, %c7 : (i32, i32) -> i32
  %c = rocdl.readfirstlane %n : i32
  %d = rocdl.update.dpp %c7, %t with 273, 15, 15, false : i32
  %v = vector.from_elements %a, %b, %c, %d : vector<4xi32>
  %p = llvm.getelementptr %out[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, vector<4xi32>
  llvm.store %v, %p : vector<4xi32>, !llvm.ptr<1>
  llvm.return
})mlir";

static void testExchanges() {
  for (uint32_t wave : {32u, 64u}) {
    std::vector<uint32_t> out(512);
    Memory memory;
    uint64_t p = memory.add(out.data(), 2048, "out");
    expectClean(run({exchanges, {p}, 1, 128, 0, lanes(wave)}, memory), "exchanges");
    for (uint32_t t = 0; t < 128; ++t) {
      uint32_t first = t / wave * wave;
      expect(out[4 * t] == first + (t + 5) % wave, "ds_bpermute, lane " + llvm::Twine(t));
      expect(out[4 * t + 1] == first + 7, "readlane, lane " + llvm::Twine(t));
      expect(out[4 * t + 2] == first + 5, "readfirstlane, lane " + llvm::Twine(t));
      expect(out[4 * t + 3] == (t % 16 ? t - 1 : 7), "row_shr:1, lane " + llvm::Twine(t));
    }
  }
}

//===----------------------------------------------------------------------===//
// Buffers
//===----------------------------------------------------------------------===//

static void testBuffers() {
  const char *text = R"mlir(
llvm.func @k(%a: !llvm.ptr<1>, %b: !llvm.ptr<1>, %bytes: i64) {
  %t = rocdl.workitem.id.x : i32
  %c0 = arith.constant 0 : i32
  %c8 = arith.constant 8 : i32
  %stride = arith.constant 0 : i16
  %flags = arith.constant 159744 : i32
  %ra = rocdl.make.buffer.rsrc %a, %stride, %bytes, %flags : !llvm.ptr<1> to !llvm.ptr<8>
  %rb = rocdl.make.buffer.rsrc %b, %stride, %bytes, %flags : !llvm.ptr<1> to !llvm.ptr<8>
  %o = arith.muli %t, %c8 : i32
  %x = rocdl.raw.ptr.buffer.load %ra, %o, %c0, %c0 : vector<2xf32>
  %y = arith.addf %x, %x : vector<2xf32>
  rocdl.raw.ptr.buffer.store %y, %rb, %o, %c0, %c0 : vector<2xf32>
  llvm.return
})mlir";
  std::vector<float> a = numbers(101, 15), b(101), want = a;
  for (float &x : want)
    x *= 2;
  Memory memory;
  uint64_t pa = memory.add(a.data(), 404, "a", Memory::ReadOnly), pb = memory.add(b.data(), 404, "b");
  expectClean(run({text, {pa, pb, Argument::integer(404)}, 1, 64, 0, lanes(64)}, memory), "buffers end by themselves");
  expectNear(b, want, 0, "buffers");
  expectError(run({text, {pa, pb, Argument::integer(408)}, 1, 64, 0, lanes(64)}, memory), ErrorKind::OutOfBounds, "rocdl.raw.ptr.buffer.load",
              "a resource that promises too much");
}

void fla::sim::test::testAMD() {
  testProducts();
  testWmmaCopies();
  testSwappedRows();
  testFloatProducts();
  testReversal();
  testExchanges();
  testBuffers();
}
