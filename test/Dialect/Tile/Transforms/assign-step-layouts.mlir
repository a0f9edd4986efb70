// In a token's step the state stays where it is (32 lanes, 4 warps): its rows and columns
// are loaded as the slices that meet it, a sum over rows leaves columns, which are stored so.
// RUN: fla-opt %s --split-input-file --fla-assign-step-layouts="lanes=32 warps=4" | FileCheck %s

// CHECK-LABEL: tile.kernel @gated
// CHECK:       tile.load %initial_S {{.+}} -> tensor<64x64xf32, #tile.layout<registers = {{\[\[}}0, 1], [0, 2], [8, 0], [16, 0], [32, 0]], lanes = {{\[\[}}0, 4], [0, 8], [1, 0], [2, 0], [4, 0]], warps = {{\[\[}}0, 16], [0, 32]]>>
// CHECK:       scf.for
// CHECK-NOT:     tile.convert_layout
// CHECK:         tile.load %q{{.+}} -> tensor<1x64xf32, #tile.layout<registers = {{\[\[}}0, 8], [0, 16], [0, 32]], lanes = {{\[\[}}0, 0], [0, 0], [0, 1], [0, 2], [0, 4]], warps = {{\[\[}}0, 0], [0, 0]]>>
// CHECK:         tile.load %v{{.+}} -> tensor<1x64xf32, #tile.layout<registers = {{\[\[}}0, 1], [0, 2]], lanes = {{\[\[}}0, 4], [0, 8], [0, 0], [0, 0], [0, 0]], warps = {{\[\[}}0, 16], [0, 32]]>>
// CHECK:         %[[O:.+]] = tile.reduce add %{{.+}} axis 0 : tensor<64x64xf32, {{.+}} -> tensor<64xf32, #tile.layout<registers = {{\[\[}}1], [2]], lanes = {{\[\[}}4], [8], [0], [0], [0]], warps = {{\[\[}}16], [32]]>>
// CHECK:         %[[ROW:.+]] = tile.broadcast %[[O]] [1]
// CHECK-NOT:     tile.convert_layout
// CHECK:         tile.store %[[ROW]], %o
// CHECK:         scf.yield
// CHECK-NOT:   tile.convert_layout
tile.kernel @gated(%q: !tile.buffer<token, 64xf32>, %k: !tile.buffer<token, 64xf32>, %v: !tile.buffer<token, 64xf32>,
                   %initial_S: !tile.buffer<state, 64x64xf32>, out %o: !tile.buffer<token, 64xf32>, out %final_S: !tile.buffer<state, 64x64xf32>)
    attributes {chunk = 1 : i64, blocks = 1 : i64} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %n = tile.num_chunks
  %0 = tile.load %initial_S : <state, 64x64xf32> -> tensor<64x64xf32>
  %1 = scf.for %c = %c0 to %n step %c1 iter_args(%S = %0) -> (tensor<64x64xf32>) {
    %2 = tile.load %q[%c] : <token, 64xf32> -> tensor<1x64xf32>
    %3 = tile.reduce add %2 axis 0 : tensor<1x64xf32> -> tensor<64xf32>
    %4 = tile.load %k[%c] : <token, 64xf32> -> tensor<1x64xf32>
    %5 = tile.reduce add %4 axis 0 : tensor<1x64xf32> -> tensor<64xf32>
    %6 = tile.load %v[%c] : <token, 64xf32> -> tensor<1x64xf32>
    %7 = tile.reduce add %6 axis 0 : tensor<1x64xf32> -> tensor<64xf32>
    %8 = tile.broadcast %5 [0] : tensor<64xf32> -> tensor<64x64xf32>
    %9 = tile.broadcast %7 [1] : tensor<64xf32> -> tensor<64x64xf32>
    %10 = arith.mulf %8, %9 : tensor<64x64xf32>
    %11 = arith.addf %S, %10 : tensor<64x64xf32>
    %12 = tile.broadcast %3 [0] : tensor<64xf32> -> tensor<64x64xf32>
    %13 = arith.mulf %12, %11 : tensor<64x64xf32>
    %14 = tile.reduce add %13 axis 0 : tensor<64x64xf32> -> tensor<64xf32>
    %15 = tile.broadcast %14 [1] : tensor<64xf32> -> tensor<1x64xf32>
    tile.store %15, %o[%c] : tensor<1x64xf32>, <token, 64xf32>
    scf.yield %11 : tensor<64x64xf32>
  }
  tile.store %1, %final_S : tensor<64x64xf32>, <state, 64x64xf32>
}

// -----

// What is loaded is loaded once for each axis that wants it: here %x as rows and as columns.
// CHECK-LABEL: tile.kernel @outer
// CHECK-COUNT-2: tile.load %x
// CHECK-NOT:   tile.convert_layout
tile.kernel @outer(%x: !tile.buffer<state, 64xf32>, out %S: !tile.buffer<state, 64x64xf32>) attributes {chunk = 1 : i64, blocks = 1 : i64} {
  %0 = tile.load %x : <state, 64xf32> -> tensor<64xf32>
  %1 = tile.broadcast %0 [0] : tensor<64xf32> -> tensor<64x64xf32>
  %2 = tile.broadcast %0 [1] : tensor<64xf32> -> tensor<64x64xf32>
  %3 = arith.mulf %1, %2 : tensor<64x64xf32>
  tile.store %3, %S : tensor<64x64xf32>, <state, 64x64xf32>
}

// -----

// What is computed from the state exists once: as rows it has to change threads.
// CHECK-LABEL: tile.kernel @moved
// CHECK:       %[[R:.+]] = tile.reduce add %{{.+}} axis 0
// CHECK:       %[[ROWS:.+]] = tile.convert_layout %[[R]]
// CHECK:       tile.broadcast %[[ROWS]] [0]
tile.kernel @moved(%x: !tile.buffer<state, 64x64xf32>, out %S: !tile.buffer<state, 64x64xf32>) attributes {chunk = 1 : i64, blocks = 1 : i64} {
  %0 = tile.load %x : <state, 64x64xf32> -> tensor<64x64xf32>
  %1 = tile.reduce add %0 axis 0 : tensor<64x64xf32> -> tensor<64xf32>
  %2 = tile.broadcast %1 [0] : tensor<64xf32> -> tensor<64x64xf32>
  %3 = arith.mulf %0, %2 : tensor<64x64xf32>
  tile.store %3, %S : tensor<64x64xf32>, <state, 64x64xf32>
}

// -----

// Kernels of larger chunks, of products and of sizes that are no powers of two stay.
// CHECK-LABEL: tile.kernel @chunks
// CHECK-NOT:   #tile.layout
tile.kernel @chunks(%x: !tile.buffer<state, 64xf32>, out %o: !tile.buffer<state, 64xf32>) attributes {chunk = 16 : i64, blocks = 1 : i64} {
  %0 = tile.load %x : <state, 64xf32> -> tensor<64xf32>
  tile.store %0, %o : tensor<64xf32>, <state, 64xf32>
}
// CHECK-LABEL: tile.kernel @products
// CHECK-NOT:   #tile.layout
tile.kernel @products(%x: !tile.buffer<state, 8x8xf32>, out %o: !tile.buffer<state, 8x8xf32>) attributes {chunk = 1 : i64, blocks = 1 : i64} {
  %0 = tile.load %x : <state, 8x8xf32> -> tensor<8x8xf32>
  %1 = tile.dot %0, %0 : tensor<8x8xf32>, tensor<8x8xf32> -> tensor<8x8xf32>
  tile.store %1, %o : tensor<8x8xf32>, <state, 8x8xf32>
}
// CHECK-LABEL: tile.kernel @sizes
// CHECK-NOT:   #tile.layout
tile.kernel @sizes(%x: !tile.buffer<state, 24xf32>, out %o: !tile.buffer<state, 24xf32>) attributes {chunk = 1 : i64, blocks = 1 : i64} {
  %0 = tile.load %x : <state, 24xf32> -> tensor<24xf32>
  tile.store %0, %o : tensor<24xf32>, <state, 24xf32>
}
