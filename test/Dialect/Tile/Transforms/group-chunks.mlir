// Several chunks a grid point.
// RUN: fla-opt %s --fla-group-chunks | FileCheck %s
// RUN: fla-opt %s --fla-group-chunks="registers=24576" | FileCheck %s --check-prefix=STAY

// What does not depend on the chunk stays before the loop.
// CHECK-LABEL: tile.kernel @scores
// CHECK-SAME:  over_chunks, span = 4
// CHECK:       %[[FIRST:.+]] = tile.chunk_id
// CHECK:       %[[SCALE:.+]] = tile.load %s
// CHECK:       %[[N:.+]] = tile.num_chunks
// CHECK:       %[[BEYOND:.+]] = arith.addi %[[FIRST]]
// CHECK:       %[[END:.+]] = arith.minsi %[[BEYOND]], %[[N]]
// CHECK:       scf.for %[[C:.+]] = %[[FIRST]] to %[[END]]
// CHECK:         tile.load %k[%[[C]]]
// CHECK:         tile.dot
// CHECK:         tile.store %{{.+}}, %p[%[[C]]]
// STAY-LABEL:  tile.kernel @scores
// STAY-NOT:    span =
tile.kernel @scores(%k: !tile.buffer<token, 64xbf16>, %s: !tile.buffer<value, f32>, out %p: !tile.buffer<saved, 32x32xbf16>)
    attributes {chunk = 32 : i64, blocks = 1 : i64, over_chunks} {
  %c = tile.chunk_id
  %s0 = tile.load %s : <value, f32> -> f32
  %0 = tile.load %k[%c] : <token, 64xbf16> -> tensor<32x64xf32>
  %1 = tile.dot %0, %0 pairs(causal) {transpose_b} : tensor<32x64xf32>, tensor<32x64xf32> -> tensor<32x32xf32>
  %2 = tile.broadcast %s0 [] : f32 -> tensor<32x32xf32>
  %3 = arith.mulf %1, %2 : tensor<32x32xf32>
  tile.store %3, %p[%c] : tensor<32x32xf32>, <saved, 32x32xbf16>
}

// Little work: no product.
// CHECK-LABEL: tile.kernel @scale
// CHECK-NOT:   scf.for
tile.kernel @scale(%k: !tile.buffer<token, 64xbf16>, out %p: !tile.buffer<token, 64xbf16>)
    attributes {chunk = 32 : i64, blocks = 1 : i64, over_chunks} {
  %c = tile.chunk_id
  %0 = tile.load %k[%c] : <token, 64xbf16> -> tensor<32x64xf32>
  %1 = arith.addf %0, %0 : tensor<32x64xf32>
  tile.store %1, %p[%c] : tensor<32x64xf32>, <token, 64xbf16>
}
