// What a chip cannot do is a diagnostic and status 1, never the end of the process.
// RUN: split-file %s %t
// RUN: not fla-translate --fla-to-hsaco %t/wide.mlir --chip=gfx942 2>&1 | FileCheck %s --check-prefix=WIDE
// RUN: not fla-translate --fla-to-hsaco %t/fatal.mlir --chip=gfx1100 2>&1 | FileCheck %s --check-prefix=FATAL
// RUN: not fla-translate --fla-to-hsaco %t/shared.mlir --chip=gfx942 2>&1 | FileCheck %s --check-prefix=SHARED
// RUN: not fla-translate --fla-to-hsaco %t/lds.mlir --chip=gfx942 2>&1 | FileCheck %s --check-prefix=LDS
// RUN: not fla-translate --fla-to-hsaco %t/symbol.mlir --chip=gfx942 2>&1 | FileCheck %s --check-prefix=SYMBOL
// RUN: not fla-translate --fla-to-hsaco %t/wide.mlir --chip=sm_90 2>&1 | FileCheck %s --check-prefix=CHIP
// RUN: not fla-translate --fla-to-hsaco %t/threads.mlir --chip=gfx90a 2>&1 | FileCheck %s --check-prefix=THREADS

// CHIP: fla-translate: expected --chip to be one of gfx90a, gfx942, gfx950, gfx1100, gfx1201, got 'sm_90'

// WIDE: wide.mlir:4:{{[0-9]+}}: error: expected an instruction of gfx942, got 'rocdl.mfma.f32.16x16x32.bf16', which exists on gfx950
//--- wide.mlir
llvm.func @wide(%c: !llvm.ptr<1>, %A: vector<8xbf16>) attributes {fla.gpu_kernel, fla.threads = 64 : i64, fla.shared = 0 : i64} {
  %zero = arith.constant 0 : i32
  %C = arith.constant dense<0.0> : vector<4xf32>
  %D = rocdl.mfma.f32.16x16x32.bf16 %A, %A, %C, %zero, %zero, %zero : (vector<8xbf16>, vector<8xbf16>, vector<4xf32>, i32, i32, i32) -> vector<4xf32>
  llvm.store %D, %c : vector<4xf32>, !llvm.ptr<1>
  llvm.return
}

// An intrinsic that no table lists.
// FATAL: fatal.mlir:1:1: error: the code generator of LLVM failed on this module for gfx1100: {{.*}}annot select
//--- fatal.mlir
llvm.func @fatal(%c: !llvm.ptr<1>, %a: f64, %d: f64) attributes {fla.gpu_kernel, fla.threads = 32 : i64, fla.shared = 0 : i64} {
  %zero = arith.constant 0 : i32
  %r = llvm.call_intrinsic "llvm.amdgcn.mfma.f64.4x4x4f64"(%a, %a, %d, %zero, %zero, %zero) : (f64, f64, f64, i32, i32, i32) -> f64
  llvm.store %r, %c : f64, !llvm.ptr<1>
  llvm.return
}

// SHARED: error: expected at most 65536 bytes of shared memory a block on gfx942, got 65552
//--- shared.mlir
llvm.func @shared() attributes {fla.gpu_kernel, fla.threads = 64 : i64, fla.shared = 65552 : i64} {
  llvm.return
}

// The global is larger than the attribute says.
// LDS: error: expected code for gfx942 from the code generator of LLVM: {{.*}}local memory (131072) exceeds limit (65536)
//--- lds.mlir
llvm.mlir.global external @fla_shared() {addr_space = 3 : i32, alignment = 16 : i64} : !llvm.array<131072 x i8>
llvm.func @lds() attributes {fla.gpu_kernel, fla.threads = 64 : i64, fla.shared = 0 : i64} {
  %p = llvm.mlir.addressof @fla_shared : !llvm.ptr<3>
  %tid = rocdl.workitem.id.x : i32
  %q = llvm.getelementptr %p[%tid] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, f32
  llvm.store volatile %tid, %q : i32, !llvm.ptr<3>
  llvm.return
}

// SYMBOL: symbol.mlir:{{[0-9:]+}}: error: expected a code object from lld: {{.*}}undefined {{.*}}symbol: elsewhere
//--- symbol.mlir
llvm.mlir.global external @elsewhere() {addr_space = 1 : i32} : i32
llvm.func @symbol() attributes {fla.gpu_kernel, fla.threads = 64 : i64, fla.shared = 0 : i64} {
  %p = llvm.mlir.addressof @elsewhere : !llvm.ptr<1>
  %tid = rocdl.workitem.id.x : i32
  llvm.store %tid, %p : i32, !llvm.ptr<1>
  llvm.return
}

// THREADS: error: expected a positive multiple of 64 threads a block, at most 1024, on gfx90a, got 32
//--- threads.mlir
llvm.func @threads() attributes {fla.gpu_kernel, fla.threads = 32 : i64, fla.shared = 0 : i64} {
  llvm.return
}
