// LDS, a barrier and shuffles in a loop that stays a loop.
// RUN: fla-translate --fla-to-hsaco %s --chip=gfx90a -o %t.90a --resources 2> %t.report && llvm-objdump -d --mcpu=gfx90a %t.90a | FileCheck %s
// RUN: fla-translate --fla-to-hsaco %s --chip=gfx1201 -o %t.1201 && llvm-objdump -d --mcpu=gfx1201 %t.1201 | FileCheck %s
// RUN: FileCheck %s --check-prefix=REPORT --input-file=%t.report

// CHECK: <block_sum>:
// CHECK: {{ds_write_b32|ds_store_b32}}
// CHECK: s_barrier
// CHECK: {{ds_read_b32|ds_load_b32}}
// CHECK: ds_bpermute_b32
// CHECK-NOT: ds_bpermute_b32
// CHECK: s_cbranch

// REPORT: kernel chip threads registers shared spills stack blocks occupancy
// REPORT-NEXT: block_sum gfx90a 128 {{[0-9]+}} 512 0 0 {{[0-9]+}} {{[0-9]+}}%
llvm.mlir.global external @fla_shared() {addr_space = 3 : i32, alignment = 16 : i64} : !llvm.array<512 x i8>

llvm.func @block_sum(%a: !llvm.ptr<1>) attributes {fla.gpu_kernel, fla.threads = 128 : i64, fla.shared = 512 : i64} {
  %tid = rocdl.workitem.id.x : i32
  %p = llvm.getelementptr inbounds %a[%tid] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
  %x = llvm.load %p : !llvm.ptr<1> -> f32
  %shared = llvm.mlir.addressof @fla_shared : !llvm.ptr<3>
  %mine = llvm.getelementptr inbounds %shared[%tid] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, f32
  llvm.store %x, %mine : f32, !llvm.ptr<3>
  // Not rocdl.s.barrier: it orders no memory accesses.
  rocdl.barrier
  %last = arith.constant 127 : i32
  %mirrored = arith.subi %last, %tid : i32
  %other = llvm.getelementptr inbounds %shared[%mirrored] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, f32
  %y = llvm.load %other : !llvm.ptr<3> -> f32
  %zero = arith.constant 0 : i32
  %one = arith.constant 1 : i32
  %two = arith.constant 2 : i32
  %steps = arith.constant 5 : i32
  %sum = scf.for %i = %zero to %steps step %one iter_args(%partial = %y) -> (f32) : i32 {
    %mask = arith.shli %one, %i : i32
    %lane = arith.xori %tid, %mask : i32
    %address = arith.shli %lane, %two : i32
    %bits = arith.bitcast %partial : f32 to i32
    %theirBits = rocdl.ds_bpermute %address, %bits : (i32, i32) -> i32
    %theirs = arith.bitcast %theirBits : i32 to f32
    %next = arith.addf %partial, %theirs : f32
    scf.yield %next : f32
  }
  llvm.store %sum, %p : f32, !llvm.ptr<1>
  llvm.return
}
