//===- ChecksTest.cpp - races, missing writes, conflicts ------------------===//
#include "Harness.h"

using namespace fla::sim;
using namespace fla::sim::test;

//===----------------------------------------------------------------------===//
// Transposing through shared memory
//===----------------------------------------------------------------------===//

// 32 x 32 numbers by 1024 threads; rows in shared memory are `pitch` numbers apart.
static std::string transpose(int pitch) {
  return R"mlir(
llvm.mlir.global external @fla_shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
llvm.func @k(%a: !llvm.ptr<1>, %b: !llvm.ptr<1>) {
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %c32 = arith.constant 32 : i32
  %pitch = arith.constant )mlir" +
         std::to_string(pitch) + R"mlir( : i32
  %row = arith.divui %t, %c32 : i32
  %column = arith.remui %t, %c32 : i32
  %s = llvm.mlir.addressof @fla_shared : !llvm.ptr<3>
  %pa = llvm.getelementptr %a[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
  %x = llvm.load %pa : !llvm.ptr<1> -> f32
  %r0 = arith.muli %row, %pitch : i32
  %i = arith.addi %r0, %column : i32
  %ps = llvm.getelementptr %s[%i] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, f32
  llvm.store %x, %ps : f32, !llvm.ptr<3>
  nvvm.barrier
  %c0 = arith.muli %column, %pitch : i32
  %j = arith.addi %c0, %row : i32
  %pt = llvm.getelementptr %s[%j] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, f32
  %y = llvm.load %pt : !llvm.ptr<3> -> f32
  %pb = llvm.getelementptr %b[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
  llvm.store %y, %pb : f32, !llvm.ptr<1>
  llvm.return
})mlir";
}

static Report runTranspose(const std::string &text, std::vector<float> &b, int64_t shared) {
  std::vector<float> a = numbers(1024, 4);
  b.assign(1024, 0);
  Memory memory;
  uint64_t pa = memory.add(a.data(), 4096, "a", Memory::ReadOnly), pb = memory.add(b.data(), 4096, "b");
  return run({text, {pa, pb}, 1, 1024, shared}, memory);
}

static void testTranspose() {
  std::vector<float> a = numbers(1024, 4), want(1024), b;
  for (int i = 0; i < 1024; ++i)
    want[i] = a[i % 32 * 32 + i / 32];
  Report padded = runTranspose(transpose(33), b, 33 * 32 * 4);
  expectClean(padded, "transpose");
  expectNear(b, want, 0, "transpose");
  expect(padded.worstConflict() == 1, "a pitch of 33 has no bank conflicts");
  Report plain = runTranspose(transpose(32), b, 4096);
  expectClean(plain, "transpose without padding");
  expect(plain.shared.size() == 2 && plain.shared[0].ways == 1 && plain.shared[1].ways == 32, "reading columns is a 32-way conflict");
  expect(plain.global.size() == 2 && plain.global[0].sectors == plain.global[0].minimal, "rows are coalesced");

  Report race = runTranspose(without(transpose(33), "nvvm.barrier"), b, 33 * 32 * 4);
  expectError(race, ErrorKind::Race, "llvm.load", "a removed barrier");
  Report small = runTranspose(transpose(33), b, 33 * 32 * 4 - 8);
  expectError(small, ErrorKind::OutOfBounds, "llvm.store", "too little shared memory");
  Report never = runTranspose(without(transpose(33), "llvm.store %x, %ps : f32, !llvm.ptr<3>"), b, 33 * 32 * 4);
  expectError(never, ErrorKind::Uninitialised, "llvm.load", "shared memory that nobody wrote");
}

//===----------------------------------------------------------------------===//
// Inside one warp, write after read, one buffer used twice
//===----------------------------------------------------------------------===//

// Each lane passes a number to its neighbour, twice through the same memory.
static const char *neighbours = R"mlir(
llvm.mlir.global external @fla_shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
llvm.func @k(%b: !llvm.ptr<1>) {
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %all = arith.constant -1 : i32
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  %c2 = arith.constant 2 : i32
  %c31 = arith.constant 31 : i32
  %s = llvm.mlir.addressof @fla_shared : !llvm.ptr<3>
  %n1 = arith.addi %t, %c1 : i32
  %next = arith.andi %n1, %c31 : i32
  %mine = llvm.getelementptr %s[%t] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i32
  %other = llvm.getelementptr %s[%next] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i32
  %r = scf.for %i = %c0 to %c2 step %c1 iter_args(%x = %t) -> (i32) : i32 {
    llvm.store %x, %mine : i32, !llvm.ptr<3>
    nvvm.bar.warp.sync %all : i32
    %y = llvm.load %other : !llvm.ptr<3> -> i32
    nvvm.barrier
    scf.yield %y : i32
  }
  %p = llvm.getelementptr %b[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
  llvm.store %r, %p : i32, !llvm.ptr<1>
  llvm.return
})mlir";

static void testNeighbours() {
  std::vector<uint32_t> b(32);
  Memory memory;
  uint64_t p = memory.add(b.data(), 128, "b");
  expectClean(run({neighbours, {p}, 1, 32, 128}, memory), "neighbours");
  expect(b[0] == 2 && b[31] == 1, "neighbours pass their numbers on");
  expectError(run({without(neighbours, "nvvm.bar.warp.sync %all : i32"), {p}, 1, 32, 128}, memory), ErrorKind::Race, "llvm.load",
              "lockstep is no excuse inside a warp");
  expectError(run({without(neighbours, "nvvm.barrier"), {p}, 1, 32, 128}, memory), ErrorKind::Race, "llvm.store", "a write after a read");
}

//===----------------------------------------------------------------------===//
// Copies: several threads hold the same number, one may store it
//===----------------------------------------------------------------------===//

// 128 threads hold the number t & kept of their bits; those without the bits of `copies` store it.
static const char *copies = R"mlir(
llvm.mlir.global external @fla_shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
llvm.func @k(%b: !llvm.ptr<1>, %kept: i32, %copies: i32) {
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %zero = arith.constant 0 : i32
  %s = llvm.mlir.addressof @fla_shared : !llvm.ptr<3>
  %x = arith.andi %t, %kept : i32
  %at = llvm.getelementptr %s[%x] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i32
  %rest = arith.andi %t, %copies : i32
  %first = arith.cmpi eq, %rest, %zero : i32
  scf.if %first {
    llvm.store %x, %at : i32, !llvm.ptr<3>
  }
  nvvm.barrier
  %y = llvm.load %at : !llvm.ptr<3> -> i32
  %p = llvm.getelementptr %b[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
  llvm.store %y, %p : i32, !llvm.ptr<1>
  llvm.return
})mlir";

static void testCopiesOfOne() {
  std::vector<uint32_t> b(128);
  Memory memory;
  uint64_t p = memory.add(b.data(), 512, "b");
  auto report = [&](uint64_t kept, uint64_t stored) { return run({copies, {p, kept, 127 & ~stored}, 1, 128, 512}, memory); };
  expectClean(report(31, 31), "one warp stores what all hold");
  expectClean(report(0x77, 0x77), "one lane of each two stores what both hold");
  expect(b[0x0f] == 0x07 && b[127] == 0x77, "all read what one stored");
  expectError(report(31, 127), ErrorKind::Race, "llvm.store", "warps that store equal numbers");
  expectError(report(0x77, 127), ErrorKind::Race, "llvm.store", "lanes that store equal numbers");
}

//===----------------------------------------------------------------------===//
// Barriers that not all threads reach
//===----------------------------------------------------------------------===//

static void testDivergentBarrier() {
  const char *text = R"mlir(llvm.func @k(%n: i32) {
    %t = nvvm.read.ptx.sreg.tid.x : i32
    %in = arith.cmpi slt, %t, %n : i32
    scf.if %in { nvvm.barrier }
    llvm.return })mlir";
  Memory memory;
  expectClean(run({text, {Argument::integer(64)}, 1, 64}, memory), "a barrier under a uniform branch");
  expectError(run({text, {Argument::integer(32)}, 1, 64}, memory), ErrorKind::Divergence, "nvvm.barrier", "a barrier under a divergent branch");
}

//===----------------------------------------------------------------------===//
// Global memory
//===----------------------------------------------------------------------===//

static const char *globals = R"mlir(
llvm.func @k(%a: !llvm.ptr<1>, %b: !llvm.ptr<1>, %stride: i32) {
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %i = arith.muli %t, %stride : i32
  %pa = llvm.getelementptr %a[%i] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
  %pb = llvm.getelementptr %b[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
  %x = llvm.load %pa : !llvm.ptr<1> -> f32
  llvm.store %x, %pb : f32, !llvm.ptr<1>
  llvm.return
})mlir";

static void testGlobals() {
  std::vector<float> a(1024), b(32);
  Memory memory;
  uint64_t pa = memory.add(a.data(), 4096, "a", Memory::ReadOnly), pb = memory.add(b.data(), 128, "b");
  uint64_t unset = memory.add(a.data(), 4096, "unset", Memory::ReadWrite, Memory::Uninitialised);
  Report strided = run({globals, {pa, pb, Argument::integer(32)}}, memory);
  expectClean(strided, "strided loads");
  expect(strided.global[0].sectors == 32 && strided.global[0].minimal == 4, "strided loads touch a sector each");
  expect(strided.global[1].sectors == 4, "stores are coalesced");
  expectError(run({globals, {unset, pb, Argument::integer(1)}}, memory), ErrorKind::Uninitialised, "llvm.load", "a buffer that nobody wrote");
  expectError(run({globals, {pa, pa, Argument::integer(1)}}, memory), ErrorKind::ReadOnly, "llvm.store", "a store to a read-only buffer");
  expectError(run({globals, {pa + 2, pb, Argument::integer(1)}}, memory), ErrorKind::Misaligned, "llvm.load", "a misaligned load");
  expectError(run({globals, {Argument(0), pb, Argument::integer(1)}}, memory), ErrorKind::OutOfBounds, "llvm.load", "a null pointer");
  expectError(run({globals, {pa, pb, Argument::integer(-1)}}, memory), ErrorKind::OutOfBounds, "llvm.load", "a negative offset");
  expectError(run({globals, {pa, pb, Argument::integer(1)}, 2}, memory), ErrorKind::Race, "llvm.store", "blocks that write the same");
  expectError(run({without(globals, "%b[%t]", "%b[%i]"), {pa, pb, Argument::integer(0)}}, memory), ErrorKind::Race, "llvm.store", "lanes that write the same");
  uint64_t shifted = memory.add(b.data(), 128, "both");
  expectError(run({globals, {shifted, shifted + 4, Argument::integer(1)}, 2, 31}, memory), ErrorKind::Race, "llvm.load",
              "blocks that meet in global memory");
}

void fla::sim::test::testChecks() {
  testTranspose();
  testNeighbours();
  testCopiesOfOne();
  testDivergentBarrier();
  testGlobals();
}
