//===- CoreTest.cpp - control flow, arithmetic, memory, speed -------------===//
#include "Harness.h"

#include "llvm/Support/Format.h"
#include <chrono>
#include <cmath>
#include <cstring>

using namespace fla::sim;
using namespace fla::sim::test;

//===----------------------------------------------------------------------===//
// Vector addition with a masked tail
//===----------------------------------------------------------------------===//

static const char *vectorAdd = R"mlir(
llvm.func @k(%a: !llvm.ptr<1>, %b: !llvm.ptr<1>, %c: !llvm.ptr<1>, %n: i64) {
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %block = nvvm.read.ptx.sreg.ctaid.x : i32
  %size = nvvm.read.ptx.sreg.ntid.x : i32
  %base = arith.muli %block, %size : i32
  %i32 = arith.addi %base, %t : i32
  %i = arith.extsi %i32 : i32 to i64
  %in = arith.cmpi slt, %i, %n : i64
  scf.if %in {
    %pa = llvm.getelementptr %a[%i] : (!llvm.ptr<1>, i64) -> !llvm.ptr<1>, f32
    %pb = llvm.getelementptr %b[%i] : (!llvm.ptr<1>, i64) -> !llvm.ptr<1>, f32
    %pc = llvm.getelementptr %c[%i] : (!llvm.ptr<1>, i64) -> !llvm.ptr<1>, f32
    %x = llvm.load %pa : !llvm.ptr<1> -> f32
    %y = llvm.load %pb : !llvm.ptr<1> -> f32
    %z = arith.addf %x, %y : f32
    llvm.store %z, %pc : f32, !llvm.ptr<1>
  }
  llvm.return
})mlir";

static Report runAdd(const std::string &text, std::vector<float> &c, unsigned lanes, unsigned hostThreads = 1) {
  std::vector<float> a = numbers(c.size(), 1), b = numbers(c.size(), 2);
  Memory memory;
  uint64_t pa = memory.add(a.data(), a.size() * 4, "a", Memory::ReadOnly), pb = memory.add(b.data(), b.size() * 4, "b", Memory::ReadOnly);
  uint64_t pc = memory.add(c.data(), c.size() * 4, "c", Memory::ReadWrite, Memory::Uninitialised);
  SimulateOptions options;
  options.lanes = lanes;
  options.hostThreads = hostThreads;
  Report report = run({text, {pa, pb, pc, Argument::integer(c.size())}, int64_t(c.size() + 63) / 64, 64, 0, options}, memory);
  expect(!report.ok() || memory.countInitialised(pc, c.size() * 4) == c.size() * 4, "vector addition writes all");
  return report;
}

static std::string forAMD(std::string text) {
  text = without(text, "nvvm.read.ptx.sreg.tid.x", "rocdl.workitem.id.x");
  text = without(text, "nvvm.read.ptx.sreg.ctaid.x", "rocdl.workgroup.id.x");
  return without(text, "nvvm.read.ptx.sreg.ntid.x : i32", "arith.constant 64 : i32");
}

static void testVectorAdd() {
  std::vector<float> want = numbers(1000, 1), b = numbers(1000, 2);
  for (size_t i = 0; i < want.size(); ++i)
    want[i] += b[i];
  for (unsigned lanes : {32u, 64u}) {
    std::vector<float> c(1000);
    expectClean(runAdd(lanes == 32 ? vectorAdd : forAMD(vectorAdd), c, lanes), "vector addition");
    expectNear(c, want, 0, "vector addition");
  }
  std::vector<float> c(1000);
  expectClean(runAdd(vectorAdd, c, 32, 2), "vector addition by two host threads");
  expectNear(c, want, 0, "vector addition by two host threads");
}

// The planted bug: one element too many passes the mask.
static void testWrongMask() {
  std::vector<float> c(1000);
  Report report = runAdd(without(vectorAdd, "cmpi slt", "cmpi sle"), c, 32);
  expectError(report, ErrorKind::OutOfBounds, "llvm.load", "a wrong mask");
  expect(report.count(ErrorKind::OutOfBounds) == 3, "a wrong mask: two loads and a store miss");
}

//===----------------------------------------------------------------------===//
// Divergent loops
//===----------------------------------------------------------------------===//

// Thread t computes the Collatz steps of t + 1 by while, and the sum of its odd numbers below t by for and if.
static const char *divergent = R"mlir(
llvm.func @k(%out: !llvm.ptr<1>) {
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  %c2 = arith.constant 2 : i32
  %c3 = arith.constant 3 : i32
  %start = arith.addi %t, %c1 : i32
  %end:2 = scf.while (%x = %start, %steps = %c0) : (i32, i32) -> (i32, i32) {
    %go = arith.cmpi ne, %x, %c1 : i32
    scf.condition(%go) %x, %steps : i32, i32
  } do {
  ^bb0(%x: i32, %steps: i32):
    %bit = arith.remui %x, %c2 : i32
    %odd = arith.cmpi eq, %bit, %c1 : i32
    %next = scf.if %odd -> i32 {
      %a = arith.muli %x, %c3 : i32
      %b = arith.addi %a, %c1 : i32
      scf.yield %b : i32
    } else {
      %a = arith.divui %x, %c2 : i32
      scf.yield %a : i32
    }
    %more = arith.addi %steps, %c1 : i32
    scf.yield %next, %more : i32, i32
  }
  %ab:2 = scf.for %i = %c0 to %t step %c1 iter_args(%a = %c0, %b = %c1) -> (i32, i32) : i32 {
    %sum = arith.addi %a, %b : i32
    scf.yield %b, %sum : i32, i32
  }
  %p = llvm.getelementptr %out[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, vector<2xi32>
  %u = llvm.mlir.undef : vector<2xi32>
  %v = llvm.insertelement %end#1, %u[%c0 : i32] : vector<2xi32>
  %w = llvm.insertelement %ab#0, %v[%c1 : i32] : vector<2xi32>
  llvm.store %w, %p : vector<2xi32>, !llvm.ptr<1>
  llvm.return
})mlir";

static void testDivergentLoops() {
  std::vector<uint32_t> out(64);
  Memory memory;
  uint64_t p = memory.add(out.data(), 256, "out");
  expectClean(run({divergent, {p}}, memory), "divergent loops");
  for (uint32_t t = 0; t < 32; ++t) {
    uint32_t steps = 0, a = 0, b = 1;
    for (uint32_t x = t + 1; x != 1; ++steps)
      x = x % 2 ? 3 * x + 1 : x / 2;
    for (uint32_t i = 0; i < t; ++i)
      a = std::exchange(b, a + b);
    expect(out[2 * t] == steps, "steps of thread " + llvm::Twine(t) + ": got " + llvm::Twine(out[2 * t]) + ", want " + llvm::Twine(steps));
    expect(out[2 * t + 1] == a, "numbers of thread " + llvm::Twine(t) + ": got " + llvm::Twine(out[2 * t + 1]) + ", want " + llvm::Twine(a));
  }
}

//===----------------------------------------------------------------------===//
// Numbers
//===----------------------------------------------------------------------===//

static const char *conversions = R"mlir(
llvm.func @k(%in: !llvm.ptr<1>, %half: !llvm.ptr<1>, %bfloat: !llvm.ptr<1>, %back: !llvm.ptr<1>) {
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %pi = llvm.getelementptr %in[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
  %ph = llvm.getelementptr %half[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f16
  %pb = llvm.getelementptr %bfloat[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, bf16
  %pr = llvm.getelementptr %back[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
  %x = llvm.load %pi : !llvm.ptr<1> -> f32
  %h = arith.truncf %x : f32 to f16
  %b = arith.truncf %x : f32 to bf16
  llvm.store %h, %ph : f16, !llvm.ptr<1>
  llvm.store %b, %pb : bf16, !llvm.ptr<1>
  %r = arith.extf %h : f16 to f32
  llvm.store %r, %pr : f32, !llvm.ptr<1>
  llvm.return
})mlir";

static void testConversions() {
  std::vector<float> in = {0.0f,     -0.0f,    1.0f,     65504.0f, 65519.9f, 65520.0f, -1e9f, 6.1e-5f,
                           6.09e-5f, 5.96e-8f, 2.98e-8f, 3e-8f,    1e-9f,    INFINITY, 0.1f,  -0.3f};
  for (float value : numbers(1008, 3))
    in.push_back(std::ldexp(value, int(in.size() % 60) - 30));
  std::vector<uint16_t> half(1024), bfloat(1024);
  std::vector<float> back(1024);
  Memory memory;
  uint64_t a = memory.add(in.data(), 4096, "in"), h = memory.add(half.data(), 2048, "half"), b = memory.add(bfloat.data(), 2048, "bfloat");
  uint64_t r = memory.add(back.data(), 4096, "back");
  expectClean(run({conversions, {a, h, b, r}, 1, 1024}, memory), "conversions");
  for (size_t i = 0; i < in.size(); ++i) {
    expect(half[i] == toHalf(in[i]), "half of " + std::to_string(in[i]));
    expect(bfloat[i] == toBfloat(in[i]), "bfloat of " + std::to_string(in[i]));
    expect(back[i] == fromHalf(half[i]), "back from half of " + std::to_string(in[i]));
  }
}

static const char *casts = R"mlir(
llvm.func @k(%out: !llvm.ptr<1>, %x: i32, %y: i64) {
  %v = llvm.bitcast %x : i32 to vector<2xbf16>
  %c0 = llvm.mlir.constant(0 : i32) : i32
  %c1 = llvm.mlir.constant(1 : i32) : i32
  %l = llvm.extractelement %v[%c0 : i32] : vector<2xbf16>
  %h = llvm.extractelement %v[%c1 : i32] : vector<2xbf16>
  %u = llvm.mlir.undef : vector<2xbf16>
  %s0 = llvm.insertelement %h, %u[%c0 : i32] : vector<2xbf16>
  %s1 = llvm.insertelement %l, %s0[%c1 : i32] : vector<2xbf16>
  %swapped = llvm.bitcast %s1 : vector<2xbf16> to i32
  %low = arith.trunci %y : i64 to i32
  %minus = arith.constant -7 : i32
  %two = arith.constant 2 : i32
  %q = arith.divsi %minus, %two : i32
  %f = arith.floordivsi %minus, %two : i32
  %m = arith.shrsi %minus, %two : i32
  %w = vector.from_elements %swapped, %low, %q, %f, %m : vector<5xi32>
  %st = llvm.mlir.undef : !llvm.struct<(i32, vector<2xi32>)>
  %e3 = vector.extract %w[3] : i32 from vector<5xi32>
  %st1 = llvm.insertvalue %e3, %st[0] : !llvm.struct<(i32, vector<2xi32>)>
  %e = llvm.extractvalue %st1[0] : !llvm.struct<(i32, vector<2xi32>)>
  %e0 = vector.extract %w[0] : i32 from vector<5xi32>
  %e1 = vector.extract %w[1] : i32 from vector<5xi32>
  %e4 = vector.extract %w[4] : i32 from vector<5xi32>
  %o = vector.from_elements %e0, %e1, %e, %e4 : vector<4xi32>
  llvm.store %o, %out : vector<4xi32>, !llvm.ptr<1>
  llvm.return
})mlir";

static void testCasts() {
  std::vector<int32_t> out(4);
  Memory memory;
  uint64_t p = memory.add(out.data(), 16, "out");
  expectClean(run({casts, {p, Argument::integer(0x12345678), Argument::integer(-5)}, 1, 1}, memory), "casts");
  expect(out[0] == 0x56781234, "halves of a bitcast");
  expect(out[1] == -5, "truncation");
  expect(out[2] == -4, "division towards minus infinity, through a struct");
  expect(out[3] == -2, "arithmetic shift");
}

//===----------------------------------------------------------------------===//
// What is not known, and speed
//===----------------------------------------------------------------------===//

static void testUnsupported() {
  Memory memory;
  Report report = run({"llvm.func @k() { %0 = llvm.inline_asm \"x\", \"=r\" : () -> i32\n llvm.return }", {}}, memory);
  expectError(report, ErrorKind::Unsupported, "llvm.inline_asm", "an unknown operation");
  expect(report.operations == 0, "nothing runs after an unknown operation");
}

// A launch that does not fit the kernel is refused.
static void testLaunchErrors() {
  Memory memory;
  expectError(run({"llvm.func @k(%n: i32) { llvm.return }", {}}, memory), ErrorKind::Unsupported, "k", "a missing argument");
  expectError(run({"llvm.func @k() { llvm.return }", {}, 1, 2048}, memory), ErrorKind::Unsupported, "k", "too many threads");
}

static void testEndlessLoop() {
  const char *text = R"mlir(llvm.func @k(%n: i32) {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    scf.for %i = %c0 to %n step %c1 : i32 { %x = arith.addi %i, %i : i32 }
    llvm.return })mlir";
  Memory memory;
  SimulateOptions options;
  options.operationLimit = 100000;
  expectError(run({text, {Argument::integer(0x7fffffff)}, 1, 32, 0, options}, memory), ErrorKind::Limit, "scf.for", "a loop without end");
}

static void testSpeed() {
  std::string body;
  for (int i = 0; i < 100; ++i)
    body += "%m" + std::to_string(i) + " = arith.mulf %x" + std::to_string(i) + ", %h : f32\n %x" + std::to_string(i + 1) + " = arith.addf %m" +
            std::to_string(i) + ", %h : f32\n";
  std::string text = R"mlir(llvm.func @k(%out: !llvm.ptr<1>) {
    %t = nvvm.read.ptx.sreg.tid.x : i32
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %n = arith.constant 1000 : i32
    %h = arith.constant 0.5 : f32
    %r = scf.for %i = %c0 to %n step %c1 iter_args(%x0 = %h) -> (f32) : i32 {)mlir" +
                     body + R"mlir( scf.yield %x100 : f32 }
    %p = llvm.getelementptr %out[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
    llvm.store %r, %p : f32, !llvm.ptr<1>
    llvm.return })mlir";
  std::vector<float> out(128);
  Memory memory;
  uint64_t p = memory.add(out.data(), 512, "out");
  auto start = std::chrono::steady_clock::now();
  Report report = run({text, {p}, 1, 128}, memory);
  double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  expectClean(report, "speed");
  expectNear(out, std::vector<float>(128, 1.0f), 1e-6, "speed");
  llvm::outs() << llvm::format("arithmetic: %.0f million thread-operations/s\n", report.operations / seconds * 1e-6);
}

void fla::sim::test::testCore() {
  testVectorAdd();
  testWrongMask();
  testDivergentLoops();
  testConversions();
  testCasts();
  testUnsupported();
  testLaunchErrors();
  testEndlessLoop();
  testSpeed();
}
