// Every operation survives text, the generic form and bytecode.
// RUN: fla-opt %s | fla-opt | FileCheck %s
// RUN: fla-opt %s --mlir-print-op-generic | fla-opt | FileCheck %s
// RUN: fla-opt %s --emit-bytecode | fla-opt | FileCheck %s

// Buffers of each kind; written ones are marked.
// CHECK-LABEL: tile.kernel @memory
// CHECK-SAME:  (%q: !tile.buffer<token, 16xbf16>, %g: !tile.buffer<token, f32>, %w: !tile.buffer<param, 4x16xf32>, %scale: !tile.buffer<value, f64>,
// CHECK-SAME:  %S: !tile.buffer<state, 16x32xf32>, %saved: !tile.buffer<saved, 16x32xf32>, out %o: !tile.buffer<token, 16xbf16>)
// CHECK-SAME:  attributes {blocks = 2 : i64, chunk = 8 : i64, over_chunks} {
tile.kernel @memory(%q: !tile.buffer<token, 16xbf16>, %g: !tile.buffer<token, f32>, %w: !tile.buffer<param, 4x16xf32>, %scale: !tile.buffer<value, f64>,
    %S: !tile.buffer<state, 16x32xf32>, %saved: !tile.buffer<saved, 16x32xf32>, out %o: !tile.buffer<token, 16xbf16>)
    attributes {chunk = 8 : i64, blocks = 2 : i64, over_chunks} {
  // CHECK: tile.num_chunks
  %n = tile.num_chunks
  // CHECK: %[[CHUNK:.+]] = tile.chunk_id
  %c = tile.chunk_id
  // CHECK: tile.first_block
  %first = tile.first_block
  // CHECK: tile.valid %[[CHUNK]] : tensor<8xi1>
  %valid = tile.valid %c : tensor<8xi1>
  // CHECK: %[[ROWS:.+]] = tile.load %q[%[[CHUNK]]] : <token, 16xbf16> -> tensor<8x16xf32>
  %0 = tile.load %q[%c] : <token, 16xbf16> -> tensor<8x16xf32>
  // CHECK: tile.load %g[%[[CHUNK]]] {absent = 1.000000e+00 : f64} : <token, f32> -> tensor<8xf32>
  %1 = tile.load %g[%c] {absent = 1.0 : f64} : <token, f32> -> tensor<8xf32>
  // CHECK: tile.load %w : <param, 4x16xf32> -> tensor<4x16xf32>
  %2 = tile.load %w : <param, 4x16xf32> -> tensor<4x16xf32>
  // CHECK: tile.load %scale : <value, f64> -> f32
  %3 = tile.load %scale : <value, f64> -> f32
  // A narrower axis: this block's columns.
  // CHECK: tile.load %S : <state, 16x32xf32> -> tensor<16x16xf32>
  %4 = tile.load %S : <state, 16x32xf32> -> tensor<16x16xf32>
  // CHECK: tile.load %saved[%[[CHUNK]]] : <saved, 16x32xf32> -> tensor<16x16xf32>
  %5 = tile.load %saved[%c] : <saved, 16x32xf32> -> tensor<16x16xf32>
  // A larger axis: zeros beyond the buffer.
  // CHECK: tile.load %q[%[[CHUNK]]] : <token, 16xbf16> -> tensor<8x32xf32>
  %6 = tile.load %q[%c] : <token, 16xbf16> -> tensor<8x32xf32>
  // CHECK: tile.inside [8, 16] : tensor<8x32xi1>
  %7 = tile.inside [8, 16] : tensor<8x32xi1>
  // CHECK: tile.reshape %{{.+}} [3, 5] to [15] : tensor<8x16xf32> -> tensor<16xf32>
  %8 = tile.reshape %0 [3, 5] to [15] : tensor<8x16xf32> -> tensor<16xf32>
  // CHECK: tile.store %[[ROWS]], %o[%[[CHUNK]]] : tensor<8x16xf32>, <token, 16xbf16>
  tile.store %0, %o[%c] : tensor<8x16xf32>, <token, 16xbf16>
}

// Dots: which pairs count is a keyword, all of them unless said.
// CHECK-LABEL: tile.kernel @dots
tile.kernel @dots(%a: !tile.buffer<state, 8x8xf32>) attributes {chunk = 8 : i64, blocks = 1 : i64} {
  // CHECK: %[[A:.+]] = tile.load
  %0 = tile.load %a : <state, 8x8xf32> -> tensor<8x8xf32>
  // CHECK: tile.dot %[[A]], %[[A]] : tensor<8x8xf32>, tensor<8x8xf32> -> tensor<8x8xf32>
  %1 = tile.dot %0, %0 : tensor<8x8xf32>, tensor<8x8xf32> -> tensor<8x8xf32>
  // CHECK: tile.dot %[[A]], %[[A]] {transpose_a} :
  %2 = tile.dot %0, %0 pairs(all) {transpose_a} : tensor<8x8xf32>, tensor<8x8xf32> -> tensor<8x8xf32>
  // CHECK: tile.dot %[[A]], %[[A]] pairs(causal) {transpose_b} :
  %3 = tile.dot %0, %0 pairs(causal) {transpose_b} : tensor<8x8xf32>, tensor<8x8xf32> -> tensor<8x8xf32>
  // CHECK: tile.dot %[[A]], %[[A]] pairs(strict) :
  %4 = tile.dot %0, %0 pairs(strict) : tensor<8x8xf32>, tensor<8x8xf32> -> tensor<8x8xf32>
  // CHECK: tile.dot %[[A]], %[[A]] pairs(diagonal) {transpose_b} :
  %5 = tile.dot %0, %0 pairs(diagonal) {transpose_b} : tensor<8x8xf32>, tensor<8x8xf32> -> tensor<8x8xf32>
  // CHECK: tile.dot %[[A]], %[[A]] pairs(level) level 4 {transpose_b} :
  %6 = tile.dot %0, %0 pairs(level) level 4 {transpose_b} : tensor<8x8xf32>, tensor<8x8xf32> -> tensor<8x8xf32>
}

// What else happens to tiles.
// CHECK-LABEL: tile.kernel @tiles
tile.kernel @tiles(%a: !tile.buffer<state, 8x8xf32>, %b: !tile.buffer<state, 8xf32>) attributes {chunk = 8 : i64, blocks = 1 : i64} {
  // CHECK: %[[M:.+]] = tile.load %a
  %m = tile.load %a : <state, 8x8xf32> -> tensor<8x8xf32>
  // CHECK: %[[G:.+]] = tile.load %b
  %g = tile.load %b : <state, 8xf32> -> tensor<8xf32>
  // CHECK: tile.broadcast %[[G]] [1] : tensor<8xf32> -> tensor<3x8xf32>
  %0 = tile.broadcast %g [1] : tensor<8xf32> -> tensor<3x8xf32>
  // CHECK: %[[MAX:.+]] = tile.reduce max %[[G]] axis 0 : tensor<8xf32> -> f32
  %1 = tile.reduce max %g axis 0 : tensor<8xf32> -> f32
  // CHECK: tile.broadcast %[[MAX]] [] : f32 -> tensor<8xf32>
  %2 = tile.broadcast %1 [] : f32 -> tensor<8xf32>
  // CHECK: tile.reduce add %[[M]] axis 1 : tensor<8x8xf32> -> tensor<8xf32>
  %3 = tile.reduce add %m axis 1 : tensor<8x8xf32> -> tensor<8xf32>
  // CHECK: tile.transpose %[[M]] : tensor<8x8xf32> -> tensor<8x8xf32>
  %4 = tile.transpose %m : tensor<8x8xf32> -> tensor<8x8xf32>
  // CHECK: tile.inverse %[[M]] : tensor<8x8xf32>
  %5 = tile.inverse %m : tensor<8x8xf32>
  // CHECK: tile.cumsum %[[G]] {exclusive, reverse} : tensor<8xf32>
  %6 = tile.cumsum %g {reverse, exclusive} : tensor<8xf32>
  // CHECK: tile.segsum %[[G]] {pre, strict} : tensor<8xf32> -> tensor<8x8xf32>
  %7 = tile.segsum %g {pre, strict} : tensor<8xf32> -> tensor<8x8xf32>
  // CHECK: tile.segsum_grad %[[M]] : tensor<8x8xf32> -> tensor<8xf32>
  %8 = tile.segsum_grad %m : tensor<8x8xf32> -> tensor<8xf32>
  // CHECK: tile.level_decay %[[M]] 2 {pre} : tensor<8x8xf32>
  %9 = tile.level_decay %m 2 {pre} : tensor<8x8xf32>
  // CHECK: tile.level_decay_grad %[[M]] 4 : tensor<8x8xf32>
  %10 = tile.level_decay_grad %m 4 : tensor<8x8xf32>
  // CHECK: %[[PREV:.+]], %[[NEXT:.+]], %[[LAST:.+]] = tile.scan log %[[G]], %[[M]], %[[M]] : tensor<8xf32>, tensor<8x8xf32>
  %prev, %next, %last = tile.scan log %g, %m, %m : tensor<8xf32>, tensor<8x8xf32>
  // CHECK: tile.scan_grad linear %[[M]], %[[M]], %[[PREV]], %[[NEXT]], %[[M]], %[[M]], %[[LAST]] : tensor<8xf32>, tensor<8x8xf32>
  %di, %dd, %dx = tile.scan_grad linear %m, %m, %prev, %next, %m, %m, %last : tensor<8xf32>, tensor<8x8xf32>
}
