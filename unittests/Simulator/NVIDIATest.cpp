//===- NVIDIATest.cpp - shuffles, tensor cores, asynchronous copies -------===//
#include "Harness.h"

#include <cstring>

using namespace fla::sim;
using namespace fla::sim::test;

static const char *sharedArray = R"mlir(
llvm.mlir.global external @fla_shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
)mlir";

//===----------------------------------------------------------------------===//
// Shuffles
//===----------------------------------------------------------------------===//

// The sum of 256 numbers by 8 warps: five exchanges, shared memory, three more.
static const char *reduction = R"mlir(
llvm.func @k(%a: !llvm.ptr<1>, %out: !llvm.ptr<1>) {
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %lane = nvvm.read.ptx.sreg.laneid : i32
  %warp = nvvm.read.ptx.sreg.warpid : i32
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  %c5 = arith.constant 5 : i32
  %c8 = arith.constant 8 : i32
  %c31 = arith.constant 31 : i32
  %all = arith.constant -1 : i32
  %low = arith.constant 255 : i32
  %pa = llvm.getelementptr %a[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
  %x = llvm.load %pa : !llvm.ptr<1> -> f32
  %sum = scf.for %i = %c0 to %c5 step %c1 iter_args(%y = %x) -> (f32) : i32 {
    %far = arith.shli %c1, %i : i32
    %other = nvvm.shfl.sync bfly %all, %y, %far, %c31 : f32 -> f32
    %z = arith.addf %y, %other : f32
    scf.yield %z : f32
  }
  %s = llvm.mlir.addressof @fla_shared : !llvm.ptr<3>
  %first = arith.cmpi eq, %lane, %c0 : i32
  scf.if %first {
    %ps = llvm.getelementptr %s[%warp] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, f32
    llvm.store %sum, %ps : f32, !llvm.ptr<3>
  }
  nvvm.barrier
  %few = arith.cmpi ult, %t, %c8 : i32
  scf.if %few {
    %ps = llvm.getelementptr %s[%t] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, f32
    %p = llvm.load %ps : !llvm.ptr<3> -> f32
    %c4 = arith.constant 4 : i32
    %c2 = arith.constant 2 : i32
    %p4 = nvvm.shfl.sync down %low, %p, %c4, %c31 : f32 -> f32
    %q4 = arith.addf %p, %p4 : f32
    %p2 = nvvm.shfl.sync down %low, %q4, %c2, %c31 : f32 -> f32
    %q2 = arith.addf %q4, %p2 : f32
    %p1 = nvvm.shfl.sync down %low, %q2, %c1, %c31 : f32 -> f32
    %q1 = arith.addf %q2, %p1 : f32
    %zero = arith.cmpi eq, %t, %c0 : i32
    scf.if %zero { llvm.store %q1, %out : f32, !llvm.ptr<1> }
  }
  llvm.return
})mlir";

static void testReduction() {
  std::vector<float> a = numbers(256, 5), out(1);
  double want = 0;
  for (float x : a)
    want += x;
  Memory memory;
  uint64_t pa = memory.add(a.data(), 1024, "a", Memory::ReadOnly), po = memory.add(out.data(), 4, "out");
  std::string text = std::string(sharedArray) + reduction;
  Report report = run({text, {pa, po}, 1, 256, 32}, memory);
  // The lanes 4 to 7 read from lanes beyond the eighth, which are not there: planted, and caught below.
  expectError(report, ErrorKind::Divergence, "nvvm.shfl.sync", "a shuffle from lanes that are not active");
  text = without(without(without(text, "shfl.sync down", "shfl.sync bfly"), "shfl.sync down", "shfl.sync bfly"), "shfl.sync down", "shfl.sync bfly");
  expectClean(run({text, {pa, po}, 1, 256, 32}, memory), "reduction");
  expectNear(out, {float(want)}, 1e-5, "reduction");
  expectError(run({without(text, "nvvm.barrier"), {pa, po}, 1, 256, 32}, memory), ErrorKind::Race, "llvm.load", "a reduction without its barrier");
  expectError(run({without(text, "%low = arith.constant 255", "%low = arith.constant 127"), {pa, po}, 1, 256, 32}, memory), ErrorKind::Divergence,
              "nvvm.shfl.sync", "a shuffle's mask without one of its lanes");
}

// The kinds of shuffles in segments of eight lanes, each with its clamp.
static const char *shuffles = R"mlir(
llvm.func @k(%out: !llvm.ptr<1>) {
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %all = arith.constant -1 : i32
  %c3 = arith.constant 3 : i32
  %down = arith.constant 6175 : i32
  %up = arith.constant 6144 : i32
  %a = nvvm.shfl.sync up %all, %t, %c3, %up : i32 -> i32
  %b = nvvm.shfl.sync down %all, %t, %c3, %down : i32 -> i32
  %c = nvvm.shfl.sync idx %all, %t, %c3, %down : i32 -> i32
  %d = nvvm.shfl.sync bfly %all, %t, %c3, %down {return_value_and_is_valid} : i32 -> !llvm.struct<(i32, i1)>
  %e = llvm.extractvalue %d[0] : !llvm.struct<(i32, i1)>
  %v = vector.from_elements %a, %b, %c, %e : vector<4xi32>
  %p = llvm.getelementptr %out[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, vector<4xi32>
  llvm.store %v, %p : vector<4xi32>, !llvm.ptr<1>
  llvm.return
})mlir";

static void testShuffles() {
  std::vector<uint32_t> out(128);
  Memory memory;
  uint64_t p = memory.add(out.data(), 512, "out");
  expectClean(run({shuffles, {p}}, memory), "shuffles");
  for (uint32_t t = 0; t < 32; ++t) {
    uint32_t in = t % 8, first = t - in;
    expect(out[4 * t] == (in >= 3 ? t - 3 : t), "shuffle up, lane " + llvm::Twine(t));
    expect(out[4 * t + 1] == (in + 3 < 8 ? t + 3 : t), "shuffle down, lane " + llvm::Twine(t));
    expect(out[4 * t + 2] == first + 3, "shuffle by index, lane " + llvm::Twine(t));
    expect(out[4 * t + 3] == (t ^ 3), "shuffle by exclusive or, lane " + llvm::Twine(t));
  }
}

//===----------------------------------------------------------------------===//
// mma.sync through ldmatrix
//===----------------------------------------------------------------------===//

// A is 16 x 16 and B 16 x 8, both by rows; each thread brings 16 and 8 bytes to shared memory.
static const char *mma = R"mlir(
llvm.func @k(%a: !llvm.ptr<1>, %b: !llvm.ptr<1>, %c: !llvm.ptr<1>) {
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %s = llvm.mlir.addressof @fla_shared : !llvm.ptr<3>
  %sb = llvm.getelementptr %s[512] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
  %pa = llvm.getelementptr %a[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, vector<4xi32>
  %qa = llvm.getelementptr %s[%t] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, vector<4xi32>
  %va = llvm.load %pa : !llvm.ptr<1> -> vector<4xi32>
  llvm.store %va, %qa : vector<4xi32>, !llvm.ptr<3>
  %pb = llvm.getelementptr %b[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, vector<2xi32>
  %qb = llvm.getelementptr %sb[%t] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, vector<2xi32>
  %vb = llvm.load %pb : !llvm.ptr<1> -> vector<2xi32>
  llvm.store %vb, %qb : vector<2xi32>, !llvm.ptr<3>
  nvvm.barrier
  %c2 = arith.constant 2 : i32
  %c4 = arith.constant 4 : i32
  %c8 = arith.constant 8 : i32
  %c16 = arith.constant 16 : i32
  %row = arith.remui %t, %c16 : i32
  %half = arith.divui %t, %c16 : i32
  %right = arith.muli %half, %c8 : i32
  %start = arith.muli %row, %c16 : i32
  %at = arith.addi %start, %right : i32
  %ra = llvm.getelementptr %s[%at] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i16
  %rb = llvm.getelementptr %sb[%row] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, vector<4xi32>
  %A = nvvm.ldmatrix %ra {num = 4 : i32, layout = #nvvm.mma_layout<row>, shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>} : (!llvm.ptr<3>) -> !llvm.struct<(i32, i32, i32, i32)>
  %B = nvvm.ldmatrix %rb {num = 2 : i32, layout = #nvvm.mma_layout<col>, shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>} : (!llvm.ptr<3>) -> !llvm.struct<(i32, i32)>
  %a0 = llvm.extractvalue %A[0] : !llvm.struct<(i32, i32, i32, i32)>
  %a1 = llvm.extractvalue %A[1] : !llvm.struct<(i32, i32, i32, i32)>
  %a2 = llvm.extractvalue %A[2] : !llvm.struct<(i32, i32, i32, i32)>
  %a3 = llvm.extractvalue %A[3] : !llvm.struct<(i32, i32, i32, i32)>
  %b0 = llvm.extractvalue %B[0] : !llvm.struct<(i32, i32)>
  %b1 = llvm.extractvalue %B[1] : !llvm.struct<(i32, i32)>
  %z = llvm.mlir.constant(0.0 : f32) : f32
  MMA
  %d0 = llvm.extractvalue %d[0] : !llvm.struct<(f32, f32, f32, f32)>
  %d1 = llvm.extractvalue %d[1] : !llvm.struct<(f32, f32, f32, f32)>
  %d2 = llvm.extractvalue %d[2] : !llvm.struct<(f32, f32, f32, f32)>
  %d3 = llvm.extractvalue %d[3] : !llvm.struct<(f32, f32, f32, f32)>
  %group = arith.divui %t, %c4 : i32
  %member = arith.remui %t, %c4 : i32
  %r8 = arith.muli %group, %c8 : i32
  %m2 = arith.muli %member, %c2 : i32
  %o = arith.addi %r8, %m2 : i32
  %upper = vector.from_elements %d0, %d1 : vector<2xf32>
  %lower = vector.from_elements %d2, %d3 : vector<2xf32>
  %pc = llvm.getelementptr %c[%o] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
  %pd = llvm.getelementptr %pc[64] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %upper, %pc : vector<2xf32>, !llvm.ptr<1>
  llvm.store %lower, %pd : vector<2xf32>, !llvm.ptr<1>
  llvm.return
})mlir";

static const char *bfloatMma = R"mlir(%d = nvvm.mma.sync A[%a0, %a1, %a2, %a3] B[%b0, %b1] C[%z, %z, %z, %z]
      {layoutA = #nvvm.mma_layout<row>, layoutB = #nvvm.mma_layout<col>, multiplicandAPtxType = #nvvm.mma_type<bf16>,
       multiplicandBPtxType = #nvvm.mma_type<bf16>, shape = #nvvm.shape<m = 16, n = 8, k = 16>} : (i32, i32, f32) -> !llvm.struct<(f32, f32, f32, f32)>)mlir";

static const char *halfMma = R"mlir(%h0 = llvm.bitcast %a0 : i32 to vector<2xf16>
  %h1 = llvm.bitcast %a1 : i32 to vector<2xf16>
  %h2 = llvm.bitcast %a2 : i32 to vector<2xf16>
  %h3 = llvm.bitcast %a3 : i32 to vector<2xf16>
  %k0 = llvm.bitcast %b0 : i32 to vector<2xf16>
  %k1 = llvm.bitcast %b1 : i32 to vector<2xf16>
  %d = nvvm.mma.sync A[%h0, %h1, %h2, %h3] B[%k0, %k1] C[%z, %z, %z, %z]
      {layoutA = #nvvm.mma_layout<row>, layoutB = #nvvm.mma_layout<col>, shape = #nvvm.shape<m = 16, n = 8, k = 16>}
      : (vector<2xf16>, vector<2xf16>, f32) -> !llvm.struct<(f32, f32, f32, f32)>)mlir";

// The same product as two of half the depth.
static const char *twoHalves = R"mlir(%e = nvvm.mma.sync A[%a0, %a1] B[%b0] C[%z, %z, %z, %z]
      {layoutA = #nvvm.mma_layout<row>, layoutB = #nvvm.mma_layout<col>, multiplicandAPtxType = #nvvm.mma_type<bf16>,
       multiplicandBPtxType = #nvvm.mma_type<bf16>, shape = #nvvm.shape<m = 16, n = 8, k = 8>} : (i32, i32, f32) -> !llvm.struct<(f32, f32, f32, f32)>
  %e0 = llvm.extractvalue %e[0] : !llvm.struct<(f32, f32, f32, f32)>
  %e1 = llvm.extractvalue %e[1] : !llvm.struct<(f32, f32, f32, f32)>
  %e2 = llvm.extractvalue %e[2] : !llvm.struct<(f32, f32, f32, f32)>
  %e3 = llvm.extractvalue %e[3] : !llvm.struct<(f32, f32, f32, f32)>
  %d = nvvm.mma.sync A[%a2, %a3] B[%b1] C[%e0, %e1, %e2, %e3]
      {layoutA = #nvvm.mma_layout<row>, layoutB = #nvvm.mma_layout<col>, multiplicandAPtxType = #nvvm.mma_type<bf16>,
       multiplicandBPtxType = #nvvm.mma_type<bf16>, shape = #nvvm.shape<m = 16, n = 8, k = 8>} : (i32, i32, f32) -> !llvm.struct<(f32, f32, f32, f32)>)mlir";

static Report runMma(const std::string &text, llvm::ArrayRef<uint16_t> a, llvm::ArrayRef<uint16_t> b, std::vector<float> &c) {
  c.assign(128, 0);
  Memory memory;
  uint64_t pa = memory.add(const_cast<uint16_t *>(a.data()), 512, "a", Memory::ReadOnly);
  uint64_t pb = memory.add(const_cast<uint16_t *>(b.data()), 256, "b", Memory::ReadOnly), pc = memory.add(c.data(), 512, "c");
  return run({sharedArray + text, {pa, pb, pc}, 1, 32, 768}, memory);
}

static void testMma() {
  std::vector<float> x = numbers(256, 6), y = numbers(128, 7), c;
  struct Case {
    const char *name, *code;
    uint16_t (*round)(float);
    float (*get)(uint16_t);
  };
  for (auto [name, code, round, get] : {Case{"bf16", bfloatMma, toBfloat, fromBfloat}, Case{"f16", halfMma, toHalf, fromHalf},
                                        Case{"bf16 in halves", twoHalves, toBfloat, fromBfloat}}) {
    std::vector<uint16_t> a = rounded(x, round), b = rounded(y, round);
    Report report = runMma(without(mma, "MMA", code), a, b, c);
    expectClean(report, llvm::Twine("mma of ") + name);
    expectNear(c, product(a, b, 16, 8, 16, get), 1e-6, llvm::Twine("mma of ") + name);
  }
}

// A planted bug that no check sees, but the numbers do; and B loaded without its transpose.
static void testSwappedFragment() {
  std::vector<uint16_t> a = rounded(numbers(256, 6), toBfloat), b = rounded(numbers(128, 7), toBfloat);
  std::vector<float> c, want = product(a, b, 16, 8, 16, fromBfloat);
  std::string text = without(mma, "MMA", bfloatMma);
  for (std::string broken : {without(text, "A[%a0, %a1, %a2, %a3]", "A[%a0, %a2, %a1, %a3]"), without(text, "mma_layout<col>", "mma_layout<row>")}) {
    expectClean(runMma(broken, a, b, c), "a swapped fragment");
    double worst = 0;
    for (size_t i = 0; i < c.size(); ++i)
      worst = std::max<double>(worst, std::abs(c[i] - want[i]));
    expect(worst > 0.1, "a swapped fragment gives wrong numbers");
  }
  expectError(runMma(without(text, "nvvm.barrier"), a, b, c), ErrorKind::Race, "nvvm.ldmatrix", "ldmatrix without a barrier");
}

// Fragments straight from memory, entry by entry.
static const char *tf32 = R"mlir(
llvm.func @k(%a: !llvm.ptr<1>, %b: !llvm.ptr<1>, %c: !llvm.ptr<1>) {
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %c2 = arith.constant 2 : i32
  %c4 = arith.constant 4 : i32
  %c8 = arith.constant 8 : i32
  %group = arith.divui %t, %c4 : i32
  %member = arith.remui %t, %c4 : i32
  %g8 = arith.muli %group, %c8 : i32
  %m8 = arith.muli %member, %c8 : i32
  %ia = arith.addi %g8, %member : i32
  %ib = arith.addi %m8, %group : i32
  %p0 = llvm.getelementptr %a[%ia] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
  %p1 = llvm.getelementptr %p0[64] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  %p2 = llvm.getelementptr %p0[4] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  %p3 = llvm.getelementptr %p0[68] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  %q0 = llvm.getelementptr %b[%ib] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
  %q1 = llvm.getelementptr %q0[32] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  %a0 = llvm.load %p0 : !llvm.ptr<1> -> i32
  %a1 = llvm.load %p1 : !llvm.ptr<1> -> i32
  %a2 = llvm.load %p2 : !llvm.ptr<1> -> i32
  %a3 = llvm.load %p3 : !llvm.ptr<1> -> i32
  %b0 = llvm.load %q0 : !llvm.ptr<1> -> i32
  %b1 = llvm.load %q1 : !llvm.ptr<1> -> i32
  %z = llvm.mlir.constant(1.0 : f32) : f32
  %d = nvvm.mma.sync A[%a0, %a1, %a2, %a3] B[%b0, %b1] C[%z, %z, %z, %z]
      {layoutA = #nvvm.mma_layout<row>, layoutB = #nvvm.mma_layout<col>, multiplicandAPtxType = #nvvm.mma_type<tf32>,
       multiplicandBPtxType = #nvvm.mma_type<tf32>, shape = #nvvm.shape<m = 16, n = 8, k = 8>} : (i32, i32, f32) -> !llvm.struct<(f32, f32, f32, f32)>
  %d0 = llvm.extractvalue %d[0] : !llvm.struct<(f32, f32, f32, f32)>
  %d1 = llvm.extractvalue %d[1] : !llvm.struct<(f32, f32, f32, f32)>
  %d2 = llvm.extractvalue %d[2] : !llvm.struct<(f32, f32, f32, f32)>
  %d3 = llvm.extractvalue %d[3] : !llvm.struct<(f32, f32, f32, f32)>
  %m2 = arith.muli %member, %c2 : i32
  %o = arith.addi %g8, %m2 : i32
  %upper = vector.from_elements %d0, %d1 : vector<2xf32>
  %lower = vector.from_elements %d2, %d3 : vector<2xf32>
  %pc = llvm.getelementptr %c[%o] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
  %pd = llvm.getelementptr %pc[64] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %upper, %pc : vector<2xf32>, !llvm.ptr<1>
  llvm.store %lower, %pd : vector<2xf32>, !llvm.ptr<1>
  llvm.return
})mlir";

static void testTf32() {
  std::vector<float> a = numbers(128, 8), b = numbers(64, 9), c(128), want(128);
  auto cut = [](float x) { // to ten bits of mantissa
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    bits &= 0xffffe000;
    std::memcpy(&x, &bits, 4);
    return x;
  };
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 8; ++j) {
      double sum = 1;
      for (int l = 0; l < 8; ++l)
        sum += double(cut(a[i * 8 + l])) * cut(b[l * 8 + j]);
      want[i * 8 + j] = sum;
    }
  Memory memory;
  uint64_t pa = memory.add(a.data(), 512, "a"), pb = memory.add(b.data(), 256, "b"), pc = memory.add(c.data(), 512, "c");
  expectClean(run({tf32, {pa, pb, pc}}, memory), "mma of tf32");
  expectNear(c, want, 1e-6, "mma of tf32");
}

//===----------------------------------------------------------------------===//
// ldmatrix and stmatrix against each other, votes, rounding to TF32
//===----------------------------------------------------------------------===//

// Four 8 x 8 matrices, 128 bytes each, are stored transposed behind themselves; lane l holds row l of all 32.
static const char *matrices = R"mlir(
llvm.func @k(%a: !llvm.ptr<1>, %b: !llvm.ptr<1>) {
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %s = llvm.mlir.addressof @fla_shared : !llvm.ptr<3>
  %pa = llvm.getelementptr %a[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, vector<4xi32>
  %pb = llvm.getelementptr %b[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, vector<4xi32>
  %from = llvm.getelementptr %s[%t] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, vector<4xi32>
  %to = llvm.getelementptr %from[512] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
  %x = llvm.load %pa : !llvm.ptr<1> -> vector<4xi32>
  llvm.store %x, %from : vector<4xi32>, !llvm.ptr<3>
  nvvm.barrier
  %m = nvvm.ldmatrix %from {num = 4 : i32, layout = #nvvm.mma_layout<row>, shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>} : (!llvm.ptr<3>) -> !llvm.struct<(i32, i32, i32, i32)>
  %m0 = llvm.extractvalue %m[0] : !llvm.struct<(i32, i32, i32, i32)>
  %m1 = llvm.extractvalue %m[1] : !llvm.struct<(i32, i32, i32, i32)>
  %m2 = llvm.extractvalue %m[2] : !llvm.struct<(i32, i32, i32, i32)>
  %m3 = llvm.extractvalue %m[3] : !llvm.struct<(i32, i32, i32, i32)>
  nvvm.stmatrix %to, %m0, %m1, %m2, %m3 {layout = #nvvm.mma_layout<col>, shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>} : !llvm.ptr<3>, i32, i32, i32, i32
  nvvm.barrier
  %y = llvm.load %to : !llvm.ptr<3> -> vector<4xi32>
  llvm.store %y, %pb : vector<4xi32>, !llvm.ptr<1>
  llvm.return
})mlir";

static void testMatrices() {
  std::vector<uint16_t> a(256), b(256);
  for (int i = 0; i < 256; ++i)
    a[i] = 1000 + i;
  Memory memory;
  uint64_t pa = memory.add(a.data(), 512, "a", Memory::ReadOnly), pb = memory.add(b.data(), 512, "b");
  Report report = run({std::string(sharedArray) + matrices, {pa, pb}, 1, 32, 1024}, memory);
  expectClean(report, "stmatrix");
  expect(report.worstConflict() == 1, "matrices of neighbouring rows have no bank conflicts");
  for (int i = 0; i < 256; ++i)
    expect(b[i] == a[i / 64 * 64 + i % 8 * 8 + i / 8 % 8], "stmatrix at " + llvm::Twine(i));
  expectError(run({std::string(sharedArray) + matrices, {pa, pb}, 1, 32, 1008}, memory), ErrorKind::OutOfBounds, "nvvm.stmatrix", "a row too many");
  expectError(run({without(sharedArray + std::string(matrices), "%from[512]", "%from[516]"), {pa, pb}, 1, 32, 1040}, memory), ErrorKind::Misaligned,
              "nvvm.stmatrix", "rows that are not aligned");
}

static void testVotes() {
  const char *text = R"mlir(llvm.func @k(%out: !llvm.ptr<1>, %x: f32) {
    %t = nvvm.read.ptx.sreg.tid.x : i32
    %all = arith.constant -1 : i32
    %c5 = arith.constant 5 : i32
    %is = arith.cmpi ult, %t, %c5 : i32
    %a = nvvm.vote.sync ballot %all, %is -> i32
    %n = nvvm.vote.sync any %all, %is -> i1
    %e = nvvm.vote.sync all %all, %is -> i1
    %b = arith.extui %n : i1 to i32
    %c = arith.extui %e : i1 to i32
    %v = vector.from_elements %a, %b, %c, %c : vector<4xi32>
    %p = llvm.getelementptr %out[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, vector<4xi32>
    llvm.store %v, %p : vector<4xi32>, !llvm.ptr<1>
    llvm.return })mlir";
  std::vector<uint32_t> out(128);
  Memory memory;
  uint64_t p = memory.add(out.data(), 512, "out");
  expectClean(run({text, {p, Argument(0)}}, memory), "votes");
  expect(out[4] == 31 && out[5] == 1 && out[6] == 0, "votes");
}

// PTX ISA, "cvt": .rna takes ties away from zero, .rn to the even neighbour; infinities stay.
static void testRoundingToTf32() {
  const char *text = R"mlir(llvm.func @k(%out: !llvm.ptr<1>, %x: f32) {
    %t = nvvm.read.ptx.sreg.tid.x : i32
    %a = nvvm.convert.float.to.tf32 %x {rnd = #nvvm.fp_rnd_mode<rna>}
    %b = nvvm.convert.float.to.tf32 %x {rnd = #nvvm.fp_rnd_mode<rn>}
    %v = vector.from_elements %a, %b : vector<2xi32>
    %p = llvm.getelementptr %out[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, vector<2xi32>
    llvm.store %v, %p : vector<2xi32>, !llvm.ptr<1>
    llvm.return })mlir";
  struct Case {
    uint32_t x, away, even;
    const char *what;
  };
  for (const Case &c :
       {Case{0x3f801000, 0x3f802000, 0x3f800000, "a tie above an even number"}, Case{0x3f803000, 0x3f804000, 0x3f804000, "a tie above an odd number"},
        Case{0xbf801000, 0xbf802000, 0xbf800000, "a tie below zero"}, Case{0x3f800fff, 0x3f800000, 0x3f800000, "less than a tie"},
        Case{0x3f801001, 0x3f802000, 0x3f802000, "more than a tie"}, Case{0x3fffffff, 0x40000000, 0x40000000, "a carry into the exponent"},
        Case{0x7f800000, 0x7f800000, 0x7f800000, "infinity"}}) {
    std::vector<uint32_t> out(64);
    Memory memory;
    uint64_t p = memory.add(out.data(), 256, "out");
    expectClean(run({text, {p, Argument(c.x)}}, memory), c.what);
    expect(out[0] == c.away, std::string(c.what) + ", ties away from zero");
    expect(out[1] == c.even, std::string(c.what) + ", ties to even");
  }
}

//===----------------------------------------------------------------------===//
// Double buffering by cp.async
//===----------------------------------------------------------------------===//

// Each of n tiles is 64 times 16 bytes; thread t adds up what thread 63 - t copied.
static const char *pipeline = R"mlir(
llvm.func @k(%a: !llvm.ptr<1>, %out: !llvm.ptr<1>, %n: i32, %valid: i32) {
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  %c2 = arith.constant 2 : i32
  %c16 = arith.constant 16 : i32
  %c63 = arith.constant 63 : i32
  %c64 = arith.constant 64 : i32
  %s = llvm.mlir.addressof @fla_shared : !llvm.ptr<3>
  %p0 = llvm.getelementptr %a[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, vector<4xf32>
  %q0 = llvm.getelementptr %s[%t] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, vector<4xf32>
  nvvm.cp.async.shared.global %q0, %p0, 16, cache = cg : !llvm.ptr<3>, !llvm.ptr<1>
  nvvm.cp.async.commit.group
  %zero = arith.constant dense<0.0> : vector<4xf32>
  %r = scf.for %i = %c0 to %n step %c1 iter_args(%sum = %zero) -> (vector<4xf32>) : i32 {
    %next = arith.addi %i, %c1 : i32
    %more = arith.cmpi slt, %next, %n : i32
    scf.if %more {
      %tile = arith.muli %next, %c64 : i32
      %g = arith.addi %tile, %t : i32
      %p = llvm.getelementptr %a[%g] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, vector<4xf32>
      %stage = arith.remui %next, %c2 : i32
      %offset = arith.muli %stage, %c64 : i32
      %to = arith.addi %offset, %t : i32
      %q = llvm.getelementptr %s[%to] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, vector<4xf32>
      %in = arith.cmpi slt, %g, %valid : i32
      %bytes = arith.select %in, %c16, %c0 : i32
      nvvm.cp.async.shared.global %q, %p, 16, cache = cg, %bytes : !llvm.ptr<3>, !llvm.ptr<1>, i32
    }
    nvvm.cp.async.commit.group
    nvvm.cp.async.wait.group 1
    nvvm.barrier
    %now = arith.remui %i, %c2 : i32
    %o = arith.muli %now, %c64 : i32
    %other = arith.subi %c63, %t : i32
    %at = arith.addi %o, %other : i32
    %q = llvm.getelementptr %s[%at] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, vector<4xf32>
    %x = llvm.load %q : !llvm.ptr<3> -> vector<4xf32>
    %y = arith.addf %sum, %x : vector<4xf32>
    nvvm.barrier
    scf.yield %y : vector<4xf32>
  }
  %p = llvm.getelementptr %out[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, vector<4xf32>
  llvm.store %r, %p : vector<4xf32>, !llvm.ptr<1>
  llvm.return
})mlir";

static void testPipeline() {
  // The last tile's second half is not there: those copies are of no bytes and give zeros.
  int tiles = 5, valid = 4 * 64 + 32;
  std::vector<float> a = numbers(valid * 4, 10), out(256), want(256);
  for (int i = 0; i < valid * 4; ++i)
    want[(63 - i / 4 % 64) * 4 + i % 4] += a[i];
  Memory memory;
  uint64_t pa = memory.add(a.data(), a.size() * 4, "a", Memory::ReadOnly), po = memory.add(out.data(), 1024, "out");
  auto launch = [&](const std::string &text) {
    return run({sharedArray + text, {pa, po, Argument::integer(tiles), Argument::integer(valid)}, 1, 64, 2048}, memory);
  };
  Report report = launch(pipeline);
  expectClean(report, "cp.async");
  for (const GlobalAccess &access : report.global)
    expect(access.sectors > 0 && access.sectors == access.minimal, "copies and stores are coalesced: " + access.location);
  expect(report.shared.size() == 3 && report.worstConflict() == 1, "copies and loads are free of bank conflicts");
  expectNear(out, want, 1e-6, "cp.async");
  expectError(launch(without(pipeline, "nvvm.cp.async.wait.group 1")), ErrorKind::MissingWait, "llvm.load", "a missing wait");
  expectError(launch(without(pipeline, "wait.group 1", "wait.group 2")), ErrorKind::MissingWait, "llvm.load", "a wait for too little");
  expectError(launch(without(pipeline, "nvvm.barrier")), ErrorKind::Race, "llvm.load", "a wait without a barrier");
  expectError(launch(without(pipeline, "nvvm.barrier\n    scf.yield", "scf.yield")), ErrorKind::Race, "nvvm.cp.async.shared.global",
              "a copy over what others still read");
  expectError(launch(without(pipeline, ", %bytes : !llvm.ptr<3>, !llvm.ptr<1>, i32", " : !llvm.ptr<3>, !llvm.ptr<1>")), ErrorKind::OutOfBounds,
              "nvvm.cp.async.shared.global", "a copy without its mask");
}

void fla::sim::test::testNVIDIA() {
  testReduction();
  testShuffles();
  testMma();
  testSwappedFragment();
  testTf32();
  testMatrices();
  testVotes();
  testRoundingToTf32();
  testPipeline();
}
