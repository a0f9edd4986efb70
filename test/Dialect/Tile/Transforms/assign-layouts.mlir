// Which thread holds which element: 32 lanes, 4 warps, the accumulator of mma.m16n8.
// RUN: fla-opt %s --fla-assign-layouts="warps=4 accumulator='16x8 #tile.layout<registers = [[0, 1], [8, 0]], lanes = [[0, 2], [0, 4], [1, 0], [2, 0], [4, 0]], warps = []>'" | FileCheck %s

// The product's layout is that of every matrix of its shape; every warp holds all of a vector;
// a scan holds whole columns, so its operand and its result change threads; the row sums drop an axis.
// CHECK-LABEL: tile.kernel @scores
// CHECK:       %[[Q:.+]] = tile.load %q{{.+}} -> tensor<32x32xf32, #tile.layout<registers = {{\[\[}}0, 1], [8, 0]
// CHECK:       %[[G:.+]] = tile.load %g{{.+}} -> tensor<32xf32, #tile.layout<registers = [], lanes = {{\[\[}}1], [2], [4], [8], [16]], warps = {{\[\[}}0], [0]]
// CHECK:       %[[LOGS:.+]] = tile.cumsum %[[G]]
// CHECK:       %[[COLUMNS:.+]] = tile.convert_layout %[[LOGS]] : {{.+}} -> tensor<32xf32, #tile.layout<registers = {{\[\[}}1], [2], [4], [8], [16]], lanes = {{\[\[}}0]
// CHECK:       %{{.+}}, %[[STATES:.+]], %{{.+}} = tile.scan linear %{{.+}}, %[[COLUMNS]], %{{.+}} : f32, tensor<32xf32, #tile.layout<registers = {{\[\[}}1], [2], [4], [8], [16]]
// CHECK:       %[[ROWS:.+]] = tile.convert_layout %[[STATES]]
// CHECK:       %[[P:.+]] = tile.dot %[[Q]], %[[Q]] {transpose_b} : {{.+}} -> tensor<32x32xf32, #tile.layout<registers = {{\[\[}}0, 1], [8, 0]
// CHECK:       %[[PART:.+]] = tile.convert_layout %[[ROWS]]
// CHECK:       %[[WIDE:.+]] = tile.broadcast %[[PART]] [0]
// CHECK:       %[[X:.+]] = arith.mulf %[[P]], %[[WIDE]]
// CHECK:       %[[R:.+]] = tile.reduce add %[[X]] axis 1
// CHECK:       tile.convert_layout %[[R]]
tile.kernel @scores(%q: !tile.buffer<token, 32xf32>, %g: !tile.buffer<token, f32>, out %o: !tile.buffer<token, f32>)
    attributes {chunk = 32 : i64, blocks = 1 : i64} {
  %c = arith.constant 0 : index
  %0 = tile.load %q[%c] : <token, 32xf32> -> tensor<32x32xf32>
  %1 = tile.load %g[%c] : <token, f32> -> tensor<32xf32>
  %zero = arith.constant 0.0 : f32
  %sums = tile.cumsum %1 : tensor<32xf32>
  %prev, %2, %last = tile.scan linear %zero, %sums, %sums : f32, tensor<32xf32>
  %3 = tile.dot %0, %0 {transpose_b} : tensor<32x32xf32>, tensor<32x32xf32> -> tensor<32x32xf32>
  %4 = tile.broadcast %2 [0] : tensor<32xf32> -> tensor<32x32xf32>
  %5 = arith.mulf %3, %4 : tensor<32x32xf32>
  %6 = tile.reduce add %5 axis 1 : tensor<32x32xf32> -> tensor<32xf32>
  tile.store %6, %o[%c] : tensor<32xf32>, <token, f32>
}

// Sums along the tokens want neighbouring tokens in a thread: 16 of two channels each here. The
// gate is loaded so, and once more as its other use wants it; the product's result stays.
// CHECK-LABEL: tile.kernel @levels
// CHECK:       %[[G:.+]] = tile.load %g{{.+}} -> tensor<64x64xf32, #tile.layout<registers = {{\[\[}}0, 1], [1, 0], [2, 0], [4, 0], [8, 0]]
// CHECK:       %[[AGAIN:.+]] = tile.load %g{{.+}} -> tensor<64x64xf32, #tile.layout<registers = {{\[\[}}0, 1], [8, 0]
// CHECK:       %[[D:.+]] = tile.level_decay %[[G]] 8
// CHECK:       %[[E:.+]] = math.exp %[[D]]
// CHECK:       %[[P:.+]] = tile.dot %[[E]], %[[E]] {{.*}}-> tensor<64x64xf32, #tile.layout<registers = {{\[\[}}0, 1], [8, 0]
// CHECK:       arith.mulf %[[P]], %[[AGAIN]]
tile.kernel @levels(%g: !tile.buffer<token, 64xf32>, out %o: !tile.buffer<token, 64xf32>) attributes {chunk = 64 : i64, blocks = 1 : i64} {
  %c = arith.constant 0 : index
  %0 = tile.load %g[%c] : <token, 64xf32> -> tensor<64x64xf32>
  %1 = tile.level_decay %0 8 : tensor<64x64xf32>
  %2 = math.exp %1 : tensor<64x64xf32>
  %3 = tile.dot %2, %2 {transpose_b} : tensor<64x64xf32>, tensor<64x64xf32> -> tensor<64x64xf32>
  %4 = arith.mulf %3, %0 : tensor<64x64xf32>
  tile.store %4, %o[%c] : tensor<64x64xf32>, <token, 64xf32>
}
