// A kernel of one token a chunk becomes the token's step: multiplications, sums, numbers.
// RUN: fla-opt %s --fla-form-steps --canonicalize --cse | FileCheck %s

// The delta rule: two reads of the state, one pair, one write, as in the recurrence.
// CHECK-LABEL: tile.kernel @delta
// CHECK:       %[[S0:.+]] = tile.load %initial_S
// CHECK:       %[[SN:.+]] = scf.for {{.+}} iter_args(%[[S:.+]] = %[[S0]])
// CHECK:         %[[Q:.+]] = tile.reduce add %{{.+}} axis 0 : tensor<1x8xf32> -> tensor<8xf32>
// CHECK:         %[[K:.+]] = tile.reduce add %{{.+}} axis 0 : tensor<1x8xf32> -> tensor<8xf32>
// CHECK:         %[[V:.+]] = tile.reduce add %{{.+}} axis 0 : tensor<1x16xf32> -> tensor<16xf32>
// CHECK-NOT:     tile.dot
// CHECK:         %[[KS:.+]] = tile.broadcast %[[K]] [0] : tensor<8xf32> -> tensor<8x16xf32>
// CHECK:         %[[KxS:.+]] = arith.mulf %[[KS]], %[[S]]
// CHECK:         %[[READ:.+]] = tile.reduce add %[[KxS]] axis 0 : tensor<8x16xf32> -> tensor<16xf32>
// CHECK:         %[[U:.+]] = arith.subf %[[V]], %[[READ]] : tensor<16xf32>
// CHECK:         %[[QxK:.+]] = arith.mulf %[[Q]], %[[K]] : tensor<8xf32>
// CHECK:         %[[P:.+]] = tile.reduce add %[[QxK]] axis 0 : tensor<8xf32> -> f32
// CHECK:         %[[PS:.+]] = tile.broadcast %[[P]] []
// CHECK:         %[[OWN:.+]] = arith.mulf %[[PS]], %[[U]] : tensor<16xf32>
// CHECK:         %[[O:.+]] = arith.addf %{{.+}}, %[[OWN]]
// CHECK:         %[[ROW:.+]] = tile.broadcast %[[O]] [1] : tensor<16xf32> -> tensor<1x16xf32>
// CHECK:         %[[US:.+]] = tile.broadcast %[[U]] [1] : tensor<16xf32> -> tensor<8x16xf32>
// CHECK:         %[[WRITE:.+]] = arith.mulf %[[KS]], %[[US]]
// CHECK:         %[[S1:.+]] = arith.addf %[[S]], %[[WRITE]] : tensor<8x16xf32>
// CHECK:         tile.store %[[ROW]], %o
// CHECK:         scf.yield %[[S1]]
// CHECK:       tile.store %[[SN]], %final_S
tile.kernel @delta(%q: !tile.buffer<token, 8xf32>, %k: !tile.buffer<token, 8xf32>, %v: !tile.buffer<token, 16xf32>,
                   %initial_S: !tile.buffer<state, 8x16xf32>, out %o: !tile.buffer<token, 16xf32>, out %final_S: !tile.buffer<state, 8x16xf32>)
    attributes {chunk = 1 : i64, blocks = 1 : i64} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %n = tile.num_chunks
  %0 = tile.load %initial_S : <state, 8x16xf32> -> tensor<8x16xf32>
  %1 = scf.for %c = %c0 to %n step %c1 iter_args(%S = %0) -> (tensor<8x16xf32>) {
    %2 = tile.load %q[%c] : <token, 8xf32> -> tensor<1x8xf32>
    %3 = tile.load %k[%c] : <token, 8xf32> -> tensor<1x8xf32>
    %4 = tile.load %v[%c] : <token, 16xf32> -> tensor<1x16xf32>
    %5 = tile.dot %3, %S : tensor<1x8xf32>, tensor<8x16xf32> -> tensor<1x16xf32>
    %6 = arith.subf %4, %5 : tensor<1x16xf32>
    %7 = tile.dot %2, %S : tensor<1x8xf32>, tensor<8x16xf32> -> tensor<1x16xf32>
    %8 = tile.dot %2, %3 pairs(causal) {transpose_b} : tensor<1x8xf32>, tensor<1x8xf32> -> tensor<1x1xf32>
    %9 = tile.dot %8, %6 init(%7 : tensor<1x16xf32>) pairs(causal) : tensor<1x1xf32>, tensor<1x16xf32> -> tensor<1x16xf32>
    %10 = tile.dot %3, %6 init(%S : tensor<8x16xf32>) {transpose_a} : tensor<1x8xf32>, tensor<1x16xf32> -> tensor<8x16xf32>
    tile.store %9, %o[%c] : tensor<1x16xf32>, <token, 16xf32>
    scf.yield %10 : tensor<8x16xf32>
  }
  tile.store %1, %final_S : tensor<8x16xf32>, <state, 8x16xf32>
}

// What relates tokens is a number when there is one: exp of a segment sum is 1 for the
// token itself, its row of a mask is inside, an inverse is 1, a pair of a strict level nothing.
// CHECK-LABEL: tile.kernel @numbers
// CHECK:       %[[X:.+]] = tile.reduce add %{{.+}} axis 0 : tensor<1x8xf32> -> tensor<8xf32>
// CHECK-NEXT:  %[[ROW:.+]] = tile.broadcast %[[X]] [1]
// CHECK-NEXT:  tile.store %[[ROW]], %o
tile.kernel @numbers(%x: !tile.buffer<token, 8xf32>, %g: !tile.buffer<token, f32>, out %o: !tile.buffer<token, 8xf32>)
    attributes {chunk = 1 : i64, blocks = 1 : i64} {
  %c = arith.constant 0 : index
  %zero = arith.constant dense<0.0> : tensor<1x8xf32>
  %0 = tile.load %x[%c] : <token, 8xf32> -> tensor<1x8xf32>
  %1 = tile.load %g[%c] : <token, f32> -> tensor<1xf32>
  %2 = tile.segsum %1 : tensor<1xf32> -> tensor<1x1xf32>
  %3 = math.exp %2 : tensor<1x1xf32>
  %4 = tile.inverse %3 : tensor<1x1xf32>
  %5 = tile.dot %4, %0 pairs(causal) : tensor<1x1xf32>, tensor<1x8xf32> -> tensor<1x8xf32>
  %6 = tile.cumsum %5 : tensor<1x8xf32>
  %7 = tile.dot %0, %0 pairs(strict) {transpose_b} : tensor<1x8xf32>, tensor<1x8xf32> -> tensor<1x1xf32>
  %8 = tile.dot %7, %0 init(%6 : tensor<1x8xf32>) pairs(strict) : tensor<1x1xf32>, tensor<1x8xf32> -> tensor<1x8xf32>
  %9 = tile.valid %c : tensor<1xi1>
  %10 = tile.broadcast %9 [0] : tensor<1xi1> -> tensor<1x8xi1>
  %11 = arith.select %10, %8, %zero : tensor<1x8xi1>, tensor<1x8xf32>
  tile.store %11, %o[%c] : tensor<1x8xf32>, <token, 8xf32>
}

// An elementwise recurrence is a multiplication and an addition a token.
// CHECK-LABEL: tile.kernel @elementwise
// CHECK:       scf.for {{.+}} iter_args(%[[H:.+]] =
// CHECK:         %[[A:.+]] = math.exp %{{.+}} : tensor<8xf32>
// CHECK:         %[[AH:.+]] = arith.mulf %[[A]], %[[H]] : tensor<8xf32>
// CHECK:         %[[NEXT:.+]] = arith.addf %[[AH]], %{{.+}} : tensor<8xf32>
// CHECK:         scf.yield %[[NEXT]]
tile.kernel @elementwise(%x: !tile.buffer<token, 8xf32>, %g: !tile.buffer<token, 8xf32>, %initial_h: !tile.buffer<state, 8xf32>,
                         out %o: !tile.buffer<token, 8xf32>, out %final_h: !tile.buffer<state, 8xf32>)
    attributes {chunk = 1 : i64, blocks = 1 : i64} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %n = tile.num_chunks
  %0 = tile.load %initial_h : <state, 8xf32> -> tensor<8xf32>
  %1 = scf.for %c = %c0 to %n step %c1 iter_args(%h = %0) -> (tensor<8xf32>) {
    %2 = tile.load %x[%c] : <token, 8xf32> -> tensor<1x8xf32>
    %3 = tile.load %g[%c] : <token, 8xf32> -> tensor<1x8xf32>
    %4 = math.exp %3 : tensor<1x8xf32>
    %prev, %next, %last = tile.scan linear %h, %4, %2 : tensor<8xf32>, tensor<1x8xf32>
    tile.store %next, %o[%c] : tensor<1x8xf32>, <token, 8xf32>
    scf.yield %last : tensor<8xf32>
  }
  tile.store %1, %final_h : tensor<8xf32>, <state, 8xf32>
}

// Rows of larger chunks stay.
// CHECK-LABEL: tile.kernel @chunks
// CHECK:       tile.dot
tile.kernel @chunks(%x: !tile.buffer<state, 1x8xf32>, out %o: !tile.buffer<state, 8x8xf32>) attributes {chunk = 16 : i64, blocks = 1 : i64} {
  %0 = tile.load %x : <state, 1x8xf32> -> tensor<1x8xf32>
  %1 = tile.dot %0, %0 {transpose_a} : tensor<1x8xf32>, tensor<1x8xf32> -> tensor<8x8xf32>
  tile.store %1, %o : tensor<8x8xf32>, <state, 8x8xf32>
}
