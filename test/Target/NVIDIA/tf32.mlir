// Products of tf32 ignore the last 13 bits of their operands, so these are rounded before: once
// where an operand is written to shared memory, else each fragment that a warp reads.
// RUN: fla-opt %s --fla-layouts-of-chip="chip=sm_90 precision=tf32" --fla-convert-tile-to-gpu="chip=sm_90" | FileCheck %s
// RUN: fla-opt %s --fla-layouts-of-chip="chip=sm_90 precision=tf32" --fla-convert-tile-to-gpu="chip=sm_90" | fla-translate --fla-to-ptx --chip=sm_90 | FileCheck %s --check-prefix=PTX
// Chips before sm_90 round ties away from zero.
// RUN: fla-opt %s --fla-layouts-of-chip="chip=sm_80 precision=tf32" --fla-convert-tile-to-gpu="chip=sm_80" | fla-translate --fla-to-ptx --chip=sm_80 | FileCheck %s --check-prefix=OLD
// Exact products round nothing, nor do those of 16 bits.
// RUN: fla-opt %s --fla-layouts-of-chip="chip=sm_90" --fla-convert-tile-to-gpu="chip=sm_90" | FileCheck %s --check-prefix=EXACT
// RUN: fla-opt %s --fla-layouts-of-chip="chip=sm_90" --fla-convert-tile-to-gpu="chip=sm_90 multiply=bf16" | FileCheck %s --check-prefix=EXACT

// EXACT-NOT: nvvm.convert.float.to.tf32
// PTX: cvt.rn.tf32.f32
// PTX: mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32
// OLD-NOT: cvt.rn.tf32
// OLD: cvt.rna.tf32.f32
// OLD: mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32

// The exponentials pass through shared memory, rounded.
// CHECK-LABEL: llvm.func @staged(
// CHECK: %[[E:.+]] = llvm.intr.exp2
// CHECK: nvvm.convert.float.to.tf32 %[[E]] {rnd = #nvvm.fp_rnd_mode<rn>}
// CHECK: llvm.store {{.*}} vector<2xf32>, !llvm.ptr<3>
// CHECK: nvvm.barrier
// CHECK-NOT: nvvm.convert.float.to.tf32
// CHECK: nvvm.mma.sync
// CHECK-LABEL: llvm.func @copied(
tile.kernel @staged(%q: !tile.buffer<token, 32xf32>, out %o: !tile.buffer<token, 32xf32>) attributes {chunk = 32 : i64, blocks = 1 : i64} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %n = tile.num_chunks
  scf.for %c = %c0 to %n step %c1 {
    %0 = tile.load %q[%c] : <token, 32xf32> -> tensor<32x32xf32>
    %1 = math.exp %0 : tensor<32x32xf32>
    %2 = tile.dot %1, %1 {transpose_b} : tensor<32x32xf32>, tensor<32x32xf32> -> tensor<32x32xf32>
    tile.store %2, %o[%c] : tensor<32x32xf32>, <token, 32xf32>
  }
}

// What was copied as it is stored is rounded as fragments.
// CHECK: nvvm.cp.async.shared.global
// CHECK: nvvm.barrier
// CHECK: %[[X:.+]] = llvm.load {{.*}} !llvm.ptr<3> -> f32
// CHECK: %[[BITS:.+]] = nvvm.convert.float.to.tf32 %[[X]] {rnd = #nvvm.fp_rnd_mode<rn>}
// CHECK: %[[ROUNDED:.+]] = llvm.bitcast %[[BITS]] : i32 to f32
// CHECK: %[[OPERAND:.+]] = llvm.bitcast %[[ROUNDED]] : f32 to i32
// CHECK: nvvm.mma.sync A[%[[OPERAND]],
tile.kernel @copied(%q: !tile.buffer<token, 32xf32>, out %o: !tile.buffer<token, 32xf32>) attributes {chunk = 32 : i64, blocks = 1 : i64} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %n = tile.num_chunks
  scf.for %c = %c0 to %n step %c1 {
    %0 = tile.load %q[%c] : <token, 32xf32> -> tensor<32x32xf32>
    %1 = tile.dot %0, %0 {transpose_b} : tensor<32x32xf32>, tensor<32x32xf32> -> tensor<32x32xf32>
    tile.store %1, %o[%c] : tensor<32x32xf32>, <token, 32xf32>
  }
}
