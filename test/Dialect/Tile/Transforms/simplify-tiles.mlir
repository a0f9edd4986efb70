// What no chunk changes is computed once a head; what is computed twice, once.
// RUN: fla-opt %s --fla-simplify-tiles | FileCheck %s

// A constant decay: its table of segment sums leaves the loop over chunks.
// CHECK-LABEL: tile.kernel @hoist
// CHECK:       %[[G:.+]] = tile.load %g
// CHECK:       %[[ROWS:.+]] = tile.broadcast %[[G]] []
// CHECK:       %[[TABLE:.+]] = tile.segsum %[[ROWS]]
// CHECK:       %[[GATES:.+]] = math.exp %[[TABLE]]
// CHECK:       scf.for
// CHECK-NOT:   tile.segsum
// CHECK-NOT:   math.exp
// CHECK:       %[[P:.+]] = tile.dot
// CHECK:       arith.mulf %[[P]], %[[GATES]]
tile.kernel @hoist(%q: !tile.buffer<token, 8xf32>, %g: !tile.buffer<param, f32>, out %o: !tile.buffer<token, 8xf32>)
    attributes {chunk = 8 : i64, blocks = 1 : i64} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %n = tile.num_chunks
  %0 = tile.load %g : <param, f32> -> f32
  scf.for %c = %c0 to %n step %c1 {
    %1 = tile.load %q[%c] : <token, 8xf32> -> tensor<8x8xf32>
    %2 = tile.dot %1, %1 pairs(causal) {transpose_b} : tensor<8x8xf32>, tensor<8x8xf32> -> tensor<8x8xf32>
    %3 = tile.broadcast %0 [] : f32 -> tensor<8xf32>
    %4 = tile.segsum %3 : tensor<8xf32> -> tensor<8x8xf32>
    %5 = math.exp %4 : tensor<8x8xf32>
    %6 = arith.mulf %2, %5 : tensor<8x8xf32>
    tile.store %6, %o[%c] : tensor<8x8xf32>, <token, 8xf32>
  }
}

// Duplicates go.
// CHECK-LABEL: tile.kernel @duplicates
// CHECK:       %[[G:.+]] = tile.load %g
// CHECK-NEXT:  %[[SUM:.+]] = tile.cumsum %[[G]]
// CHECK-NOT:   tile.cumsum
// CHECK:       arith.addf %[[SUM]], %[[SUM]]
tile.kernel @duplicates(%g: !tile.buffer<state, 8xf32>, out %o: !tile.buffer<state, 8xf32>) attributes {chunk = 8 : i64, blocks = 1 : i64} {
  %0 = tile.load %g : <state, 8xf32> -> tensor<8xf32>
  %1 = tile.cumsum %0 : tensor<8xf32>
  %2 = tile.cumsum %0 : tensor<8xf32>
  %3 = arith.addf %1, %2 : tensor<8xf32>
  tile.store %3, %o : tensor<8xf32>, <state, 8xf32>
}

// A sum with a product is the product's init; rows past the end load as zero.
// CHECK-LABEL: tile.kernel @products
// CHECK:       %[[V:.+]] = tile.load %v
// CHECK-NOT:   arith.select
// CHECK:       %[[SCORES:.+]] = tile.dot %[[V]], %[[V]] pairs(causal) {transpose_b}
// CHECK:       %[[SUM:.+]] = arith.addf %[[SCORES]], %[[SCORES]]
// CHECK:       %[[X:.+]] = tile.dot %[[SUM]], %[[V]] init(%[[V]] : tensor<8x8xf32>) pairs(causal)
// CHECK:       tile.store %[[X]]
tile.kernel @products(%v: !tile.buffer<token, 8xf32>, out %o: !tile.buffer<token, 8xf32>) attributes {chunk = 8 : i64, blocks = 1 : i64} {
  %c = arith.constant 0 : index
  %zero = arith.constant dense<0.0> : tensor<8x8xf32>
  %0 = tile.load %v[%c] : <token, 8xf32> -> tensor<8x8xf32>
  %1 = tile.valid %c : tensor<8xi1>
  %2 = tile.broadcast %1 [0] : tensor<8xi1> -> tensor<8x8xi1>
  %3 = arith.select %2, %0, %zero : tensor<8x8xi1>, tensor<8x8xf32>
  // A restricted result takes no init.
  %4 = tile.dot %3, %3 pairs(causal) {transpose_b} : tensor<8x8xf32>, tensor<8x8xf32> -> tensor<8x8xf32>
  %5 = arith.addf %4, %4 : tensor<8x8xf32>
  %6 = tile.dot %5, %3 pairs(causal) : tensor<8x8xf32>, tensor<8x8xf32> -> tensor<8x8xf32>
  %7 = arith.addf %6, %3 : tensor<8x8xf32>
  tile.store %7, %o[%c] : tensor<8x8xf32>, <token, 8xf32>
}

// Two decays that differ on the diagonal alone, where one scales zeros: the other does for both.
// CHECK-LABEL: tile.kernel @decays
// CHECK:       %[[D:.+]] = tile.segsum %{{.+}} : tensor<8xf32>
// CHECK-NOT:   tile.segsum
// CHECK:       %[[E:.+]] = math.exp %[[D]]
// CHECK-NOT:   math.exp
// CHECK:       arith.mulf %{{.+}}, %[[E]]
// CHECK:       arith.mulf %{{.+}}, %[[E]]
tile.kernel @decays(%v: !tile.buffer<token, 8xf32>, %g: !tile.buffer<token, f32>, out %o: !tile.buffer<token, 8xf32>, out %p: !tile.buffer<token, 8xf32>)
    attributes {chunk = 8 : i64, blocks = 1 : i64} {
  %c = arith.constant 0 : index
  %0 = tile.load %v[%c] : <token, 8xf32> -> tensor<8x8xf32>
  %1 = tile.load %g[%c] : <token, f32> -> tensor<8xf32>
  %2 = tile.dot %0, %0 pairs(strict) {transpose_b} : tensor<8x8xf32>, tensor<8x8xf32> -> tensor<8x8xf32>
  %3 = tile.segsum %1 {strict} : tensor<8xf32> -> tensor<8x8xf32>
  %4 = math.exp %3 : tensor<8x8xf32>
  %5 = arith.mulf %2, %4 : tensor<8x8xf32>
  %6 = tile.dot %0, %0 pairs(causal) {transpose_b} : tensor<8x8xf32>, tensor<8x8xf32> -> tensor<8x8xf32>
  %7 = tile.segsum %1 : tensor<8xf32> -> tensor<8x8xf32>
  %8 = math.exp %7 : tensor<8x8xf32>
  %9 = arith.mulf %6, %8 : tensor<8x8xf32>
  tile.store %5, %o[%c] : tensor<8x8xf32>, <token, 8xf32>
  tile.store %9, %p[%c] : tensor<8x8xf32>, <token, 8xf32>
}
