// Factors of operands move behind products; masks of what is zero by itself go.
// RUN: fla-opt %s --fla-hoist-scales | FileCheck %s

// The example of the pass: the operand becomes what was loaded.
// CHECK-LABEL: tile.kernel @rows
// CHECK-DAG:   %[[K:.+]] = tile.load %k
// CHECK-DAG:   %[[BETA:.+]] = tile.load %beta
// CHECK-DAG:   %[[V:.+]] = tile.load %v
// CHECK-NOT:   arith.select
// CHECK:       %[[P:.+]] = tile.dot %[[K]], %{{.+}} :
// CHECK:       %[[ROWS:.+]] = tile.broadcast %[[BETA]] [0]
// CHECK:       %[[SCALED:.+]] = arith.mulf %[[P]], %[[ROWS]]
// CHECK:       arith.addf %[[V]], %[[SCALED]]
tile.kernel @rows(%k: !tile.buffer<token, 8xbf16>, %v: !tile.buffer<token, 4xbf16>, %beta: !tile.buffer<token, bf16>, %state: !tile.buffer<state, 8x4xf32>, out %o: !tile.buffer<token, 4xbf16>)
    attributes {chunk = 16 : i64, blocks = 1 : i64} {
  %c = arith.constant 0 : index
  %zero = arith.constant dense<0.0> : tensor<16x8xf32>
  %0 = tile.load %k[%c] : <token, 8xbf16> -> tensor<16x8xf32>
  %1 = tile.load %v[%c] : <token, 4xbf16> -> tensor<16x4xf32>
  %2 = tile.load %beta[%c] : <token, bf16> -> tensor<16xf32>
  %3 = tile.load %state : <state, 8x4xf32> -> tensor<8x4xf32>
  %4 = tile.broadcast %2 [0] : tensor<16xf32> -> tensor<16x8xf32>
  %5 = arith.mulf %0, %4 : tensor<16x8xf32>
  %6 = tile.valid %c : tensor<16xi1>
  %7 = tile.broadcast %6 [0] : tensor<16xi1> -> tensor<16x8xi1>
  %8 = arith.select %7, %5, %zero : tensor<16x8xi1>, tensor<16x8xf32>
  %9 = tile.dot %8, %3 init(%1 : tensor<16x4xf32>) : tensor<16x8xf32>, tensor<8x4xf32> -> tensor<16x4xf32>
  tile.store %9, %o[%c] : tensor<16x4xf32>, <token, 4xbf16>
}

// A chain of factors becomes one vector, signs and numbers for all rows included;
// what differs along the axis that is summed over stays.
// CHECK-LABEL: tile.kernel @chain
// CHECK-DAG:   %[[Q:.+]] = tile.load %q
// CHECK-DAG:   %[[K:.+]] = tile.load %k
// CHECK-DAG:   %[[SCALE:.+]] = tile.load %scale
// CHECK-DAG:   %[[G:.+]] = tile.load %g
// CHECK:       %[[COLUMNS:.+]] = tile.broadcast %[[G]] [1]
// CHECK:       %[[QG:.+]] = arith.mulf %[[Q]], %[[COLUMNS]]
// CHECK:       %[[P:.+]] = tile.dot %[[QG]], %[[K]] pairs(causal) {transpose_b}
// CHECK:       %[[VECTOR:.+]] = arith.negf %{{.+}} : tensor<16xf32>
// CHECK-NEXT:  %[[ROWS:.+]] = tile.broadcast %[[VECTOR]] [0]
// CHECK-NEXT:  %[[SCALED:.+]] = arith.mulf %[[P]], %[[ROWS]]
// CHECK-NEXT:  tile.store %[[SCALED]]
tile.kernel @chain(%q: !tile.buffer<token, 32xbf16>, %k: !tile.buffer<token, 32xbf16>, %beta: !tile.buffer<token, bf16>, %g: !tile.buffer<param, 32xbf16>, %scale: !tile.buffer<value, f64>, out %o: !tile.buffer<token, 16xbf16>)
    attributes {chunk = 16 : i64, blocks = 1 : i64} {
  %c = arith.constant 0 : index
  %0 = tile.load %q[%c] : <token, 32xbf16> -> tensor<16x32xf32>
  %1 = tile.load %k[%c] : <token, 32xbf16> -> tensor<16x32xf32>
  %2 = tile.load %beta[%c] : <token, bf16> -> tensor<16xf32>
  %3 = tile.load %scale : <value, f64> -> f32
  %4 = tile.load %g : <param, 32xbf16> -> tensor<32xf32>
  %5 = tile.broadcast %2 [0] : tensor<16xf32> -> tensor<16x32xf32>
  %6 = tile.broadcast %3 [] : f32 -> tensor<16x32xf32>
  %7 = tile.broadcast %4 [1] : tensor<32xf32> -> tensor<16x32xf32>
  %8 = arith.mulf %0, %5 : tensor<16x32xf32>
  %9 = arith.negf %8 : tensor<16x32xf32>
  %10 = arith.mulf %9, %6 : tensor<16x32xf32>
  %11 = arith.mulf %10, %7 : tensor<16x32xf32>
  %12 = tile.dot %11, %1 pairs(causal) {transpose_b} : tensor<16x32xf32>, tensor<16x32xf32> -> tensor<16x16xf32>
  tile.store %12, %o[%c] : tensor<16x16xf32>, <token, 16xbf16>
}

// Tokens are summed over: their factors stay, and so does a mask of what is not zero.
// CHECK-LABEL: tile.kernel @stays
// CHECK:       %[[MASKED:.+]] = arith.select
// CHECK:       %[[SCALED:.+]] = arith.mulf %[[MASKED]]
// CHECK:       tile.dot %[[SCALED]], %{{.+}} {transpose_a}
tile.kernel @stays(%k: !tile.buffer<token, 8xbf16>, %beta: !tile.buffer<token, bf16>, out %o: !tile.buffer<state, 8x8xf32>) attributes {chunk = 16 : i64, blocks = 1 : i64} {
  %c = arith.constant 0 : index
  %zero = arith.constant dense<0.0> : tensor<16x8xf32>
  %0 = tile.load %k[%c] : <token, 8xbf16> -> tensor<16x8xf32>
  %1 = tile.load %beta[%c] : <token, bf16> -> tensor<16xf32>
  %2 = tile.valid %c : tensor<16xi1>
  %3 = tile.broadcast %2 [0] : tensor<16xi1> -> tensor<16x8xi1>
  %4 = math.exp %0 : tensor<16x8xf32>
  %5 = arith.select %3, %4, %zero : tensor<16x8xi1>, tensor<16x8xf32>
  %6 = tile.broadcast %1 [0] : tensor<16xf32> -> tensor<16x8xf32>
  %7 = arith.mulf %5, %6 : tensor<16x8xf32>
  %8 = tile.dot %7, %0 {transpose_a} : tensor<16x8xf32>, tensor<16x8xf32> -> tensor<8x8xf32>
  tile.store %8, %o : tensor<8x8xf32>, <state, 8x8xf32>
}

// Sums of products with the same scale are scaled once; a restricted A takes its rows' scale behind as well.
// CHECK-LABEL: tile.kernel @sums
// CHECK-DAG:   %[[P:.+]] = tile.load %p
// CHECK-DAG:   %[[V:.+]] = tile.load %v
// CHECK-DAG:   %[[X:.+]] = tile.dot %[[P]], %[[V]] pairs(causal)
// CHECK-DAG:   %[[Y:.+]] = tile.dot %[[P]], %[[V]] {transpose_a}
// CHECK:       %[[SUM:.+]] = arith.addf %[[X]], %[[Y]]
// CHECK:       arith.mulf %[[SUM]]
// CHECK-NEXT:  tile.store
tile.kernel @sums(%p: !tile.buffer<token, 16xbf16>, %v: !tile.buffer<token, 16xbf16>, %beta: !tile.buffer<token, bf16>, out %o: !tile.buffer<token, 16xbf16>)
    attributes {chunk = 16 : i64, blocks = 1 : i64} {
  %c = arith.constant 0 : index
  %0 = tile.load %p[%c] : <token, 16xbf16> -> tensor<16x16xf32>
  %1 = tile.load %v[%c] : <token, 16xbf16> -> tensor<16x16xf32>
  %2 = tile.load %beta[%c] : <token, bf16> -> tensor<16xf32>
  %3 = tile.broadcast %2 [0] : tensor<16xf32> -> tensor<16x16xf32>
  %4 = tile.broadcast %2 [1] : tensor<16xf32> -> tensor<16x16xf32>
  %5 = arith.mulf %0, %3 : tensor<16x16xf32>
  %6 = arith.mulf %0, %4 : tensor<16x16xf32>
  %7 = tile.dot %5, %1 pairs(causal) : tensor<16x16xf32>, tensor<16x16xf32> -> tensor<16x16xf32>
  %8 = tile.dot %6, %1 {transpose_a} : tensor<16x16xf32>, tensor<16x16xf32> -> tensor<16x16xf32>
  %9 = arith.addf %7, %8 : tensor<16x16xf32>
  tile.store %9, %o[%c] : tensor<16x16xf32>, <token, 16xbf16>
}
