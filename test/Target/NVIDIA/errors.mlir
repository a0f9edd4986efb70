// What a chip cannot do is a diagnostic and status 1, never the end of the process.
// RUN: split-file %s %t
// RUN: not fla-translate --fla-to-ptx %t/shared.mlir --chip=sm_86 2>&1 | FileCheck %s --check-prefix=SHARED
// RUN: fla-translate --fla-to-ptx %t/shared.mlir --chip=sm_90 -o %t/shared.ptx
// RUN: not fla-translate --fla-to-ptx %t/fatal.mlir --chip=sm_80 2>&1 | FileCheck %s --check-prefix=FATAL
// RUN: not fla-translate --fla-to-ptx --split-input-file %t/next.mlir --chip=sm_80 2>&1 | FileCheck %s --check-prefix=NEXT
// RUN: not fla-translate --fla-to-ptx %t/absent.mlir --chip=sm_80 2>&1 | FileCheck %s --check-prefix=ABSENT
// RUN: not fla-translate --fla-to-ptx %t/none.mlir --chip=sm_80 2>&1 | FileCheck %s --check-prefix=NONE
// RUN: not fla-translate --fla-to-ptx %t/shared.mlir --chip=sm_75 2>&1 | FileCheck %s --check-prefix=CHIP
// RUN: not fla-translate --fla-to-ptx %t/shared.mlir 2>&1 | FileCheck %s --check-prefix=NOCHIP

// CHIP: fla-translate: expected --chip to be one of sm_80, sm_86, sm_89, sm_90, sm_100, sm_120, got 'sm_75'
// NOCHIP: fla-translate: expected --chip to be one of sm_80, sm_86, sm_89, sm_90, sm_100, sm_120, got ''

// SHARED: error: expected at most 101376 bytes of shared memory a block on sm_86, got 102400
//--- shared.mlir
llvm.func @shared() attributes {fla.gpu_kernel, fla.threads = 64 : i64, fla.shared = 102400 : i64} {
  llvm.return
}

// An instruction of later chips.
// FATAL: fatal.mlir:1:1: error: the code generator of LLVM failed on this module for sm_80: {{.*}}annot select
//--- fatal.mlir
llvm.func @fatal(%c: !llvm.ptr<1>) attributes {fla.gpu_kernel, fla.threads = 32 : i64, fla.shared = 0 : i64} {
  %r = llvm.call_intrinsic "llvm.nvvm.read.ptx.sreg.cluster.ctarank"() : () -> i32
  llvm.store %r, %c : i32, !llvm.ptr<1>
  llvm.return
}

// The same process compiles on.
// NEXT: error: the code generator of LLVM failed
// NEXT: .visible .entry next(
//--- next.mlir
llvm.func @fatal(%c: !llvm.ptr<1>) attributes {fla.gpu_kernel, fla.threads = 32 : i64, fla.shared = 0 : i64} {
  %r = llvm.call_intrinsic "llvm.nvvm.read.ptx.sreg.cluster.ctarank"() : () -> i32
  llvm.store %r, %c : i32, !llvm.ptr<1>
  llvm.return
}
// -----
llvm.func @next(%c: !llvm.ptr<1>) attributes {fla.gpu_kernel, fla.threads = 32 : i64, fla.shared = 0 : i64} {
  llvm.return
}

// ABSENT: error: expected the integer attribute 'fla.threads' on a kernel in device form
//--- absent.mlir
llvm.func @absent() attributes {fla.gpu_kernel, fla.shared = 0 : i64} {
  llvm.return
}

// NONE: error: expected
//--- none.mlir
llvm.func @none() {
  llvm.return
}
