// Shared memory, a barrier and shuffles in a loop that stays a loop.
// RUN: fla-translate --fla-to-ptx %s --chip=sm_80 | FileCheck %s
// RUN: fla-translate --fla-to-ptx %s --chip=sm_120 | FileCheck %s

// CHECK: .extern .shared .align 16 .b8 fla_shared[];
// CHECK: .visible .entry block_sum(
// Addresses in shared memory are 32 bits wide.
// CHECK: st.shared.b32 [%r{{[0-9]+}}],
// CHECK: {{bar.sync|barrier.sync.aligned}} 0
// CHECK: shfl.sync.bfly.b32
// CHECK-NOT: shfl.sync.bfly.b32
// CHECK: bra
llvm.mlir.global external @fla_shared() {addr_space = 3 : i32, alignment = 16 : i64} : !llvm.array<0 x i8>

llvm.func @block_sum(%a: !llvm.ptr<1>) attributes {fla.gpu_kernel, fla.threads = 64 : i64, fla.shared = 256 : i64} {
  %tid = nvvm.read.ptx.sreg.tid.x : i32
  %p = llvm.getelementptr inbounds %a[%tid] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
  %x = llvm.load %p : !llvm.ptr<1> -> f32
  %shared = llvm.mlir.addressof @fla_shared : !llvm.ptr<3>
  %mine = llvm.getelementptr inbounds %shared[%tid] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, f32
  llvm.store %x, %mine : f32, !llvm.ptr<3>
  nvvm.barrier
  %last = arith.constant 63 : i32
  %mirrored = arith.subi %last, %tid : i32
  %other = llvm.getelementptr inbounds %shared[%mirrored] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, f32
  %y = llvm.load %other : !llvm.ptr<3> -> f32
  %all = arith.constant -1 : i32
  %clamp = arith.constant 31 : i32
  %zero = arith.constant 0 : i32
  %one = arith.constant 1 : i32
  %steps = arith.constant 5 : i32
  %sum = scf.for %i = %zero to %steps step %one iter_args(%partial = %y) -> (f32) : i32 {
    %mask = arith.shli %one, %i : i32
    %theirs = nvvm.shfl.sync bfly %all, %partial, %mask, %clamp : f32 -> f32
    %next = arith.addf %partial, %theirs : f32
    scf.yield %next : f32
  }
  llvm.store %sum, %p : f32, !llvm.ptr<1>
  llvm.return
}
