// RUN: fla-opt %s --fla-convert-tile-to-llvm=vector-bytes=32 | FileCheck %s

// A loop over vectors, one narrower vector for the rest, no tile operation left.
// CHECK-LABEL: llvm.func @twice(
// CHECK-SAME: !llvm.ptr
// CHECK-SAME: fla.workspace = [[BYTES:[0-9]+]]
// CHECK: llvm.load {{.*}} -> vector<8xf32>
// CHECK: llvm.load {{.*}} -> f32
// CHECK: llvm.fadd {{.*}} : vector<8xf32>
// CHECK: llvm.fadd {{.*}} : vector<4xf32>
// CHECK-NOT: tile.
tile.kernel @twice(%x : !tile.buffer<token, 17xf32>, out %y : !tile.buffer<token, 17xf32>)
    attributes {chunk = 4 : i64, blocks = 1 : i64, over_chunks} {
  %c = tile.chunk_id
  %a = tile.load %x[%c] : !tile.buffer<token, 17xf32> -> tensor<4x17xf32>
  %b = arith.addf %a, %a : tensor<4x17xf32>
  tile.store %b, %y[%c] : tensor<4x17xf32>, !tile.buffer<token, 17xf32>
}
