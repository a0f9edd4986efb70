// Loads begin a chunk ahead.
// RUN: fla-opt %s --fla-stage-loads | FileCheck %s
// RUN: fla-opt %s --fla-stage-loads="bytes=1000" | FileCheck %s --check-prefix=FULL

// Rows of k are copied while the chunk before is worked on; the numbers g, one a
// token, are loaded ahead and carried.
// CHECK-LABEL: tile.kernel @loop
// CHECK:       %[[ROOM:.+]] = tile.alloc : <2, 32x64xbf16>
// CHECK:       %[[FIRST:.+]] = arith.remui %c0
// CHECK:       tile.copy %k[%c0], %[[ROOM]][%[[FIRST]]] : <token, 64xbf16>, <2, 32x64xbf16>
// CHECK:       %[[G0:.+]] = tile.load %g[%c0]
// CHECK:       scf.for %[[C:.+]] = %c0 to %[[N:.+]] step %c1 iter_args(%{{.+}} = %{{.+}}, %[[G:.+]] = %[[G0]])
// CHECK-NEXT:    tile.wait
// CHECK:         %[[AFTER:.+]] = arith.addi %[[C]], %c1
// CHECK:         %[[NEXT:.+]] = arith.minsi %[[AFTER]]
// CHECK:         tile.copy %k[%[[NEXT]]], %[[ROOM]]
// CHECK:         %[[G1:.+]] = tile.load %g[
// CHECK:         %[[K:.+]] = tile.read %[[ROOM]][%{{.+}}] : <2, 32x64xbf16> -> tensor<32x64xf32>
// CHECK:         tile.broadcast %[[G]] [0]
// CHECK:         tile.dot %[[K]]
// CHECK:         scf.yield %{{.+}}, %[[G1]]
// CHECK:       tile.wait
// FULL-LABEL: tile.kernel @loop
// FULL-NOT:   tile.copy
tile.kernel @loop(%k: !tile.buffer<token, 64xbf16>, %g: !tile.buffer<token, f32>, out %s: !tile.buffer<state, 64x64xf32>)
    attributes {chunk = 32 : i64, blocks = 1 : i64} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %zero = arith.constant dense<0.0> : tensor<64x64xf32>
  %n = tile.num_chunks
  %last = scf.for %c = %c0 to %n step %c1 iter_args(%state = %zero) -> (tensor<64x64xf32>) {
    %0 = tile.load %k[%c] : <token, 64xbf16> -> tensor<32x64xf32>
    %1 = tile.load %g[%c] : <token, f32> -> tensor<32xf32>
    %2 = tile.broadcast %1 [0] : tensor<32xf32> -> tensor<32x64xf32>
    %3 = arith.mulf %0, %2 : tensor<32x64xf32>
    %4 = tile.dot %0, %3 init(%state : tensor<64x64xf32>) {transpose_a} : tensor<32x64xf32>, tensor<32x64xf32> -> tensor<64x64xf32>
    scf.yield %4 : tensor<64x64xf32>
  }
  tile.store %last, %s : tensor<64x64xf32>, <state, 64x64xf32>
}

// What products alone read is copied in a kernel over chunks, too, all before the first of them.
// CHECK-LABEL: tile.kernel @chunks
// CHECK:       %[[ROOM:.+]] = tile.alloc : <1, 32x64xbf16>
// CHECK:       tile.copy %k[%{{.+}}], %[[ROOM]][%{{.+}}]
// CHECK:       tile.wait
// CHECK:       %[[K:.+]] = tile.read %[[ROOM]]
// CHECK:       tile.dot %[[K]], %[[K]]
tile.kernel @chunks(%k: !tile.buffer<token, 64xbf16>, out %p: !tile.buffer<saved, 32x32xbf16>)
    attributes {chunk = 32 : i64, blocks = 1 : i64, over_chunks} {
  %c = tile.chunk_id
  %0 = tile.load %k[%c] : <token, 64xbf16> -> tensor<32x64xf32>
  %1 = tile.dot %0, %0 pairs(causal) {transpose_b} : tensor<32x64xf32>, tensor<32x64xf32> -> tensor<32x32xf32>
  tile.store %1, %p[%c] : tensor<32x32xf32>, <saved, 32x32xbf16>
}
