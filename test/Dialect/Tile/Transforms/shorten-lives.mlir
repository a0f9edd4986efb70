// Two registers a thread for tiles of two and four: the second product and its load wait until
// the first product's sum is stored.
// RUN: fla-opt %s --fla-assign-layouts --fla-shorten-lives=registers=2 | FileCheck %s
// RUN: fla-opt %s --fla-assign-layouts --fla-shorten-lives | FileCheck %s --check-prefix=ROOM

// CHECK-LABEL: tile.kernel @sums
// CHECK:       %[[A:.+]] = tile.load %a
// CHECK:       %[[X:.+]] = tile.dot %[[A]], %[[A]]
// CHECK:       %[[XS:.+]] = tile.reduce add %[[X]]
// CHECK:       tile.store %{{.+}}, %o
// CHECK:       %[[B:.+]] = tile.load %b
// CHECK:       %[[Y:.+]] = tile.dot %[[B]], %[[B]]
// CHECK:       tile.reduce add %[[Y]]
// CHECK:       tile.store %{{.+}}, %p

// With room for all the order stays.
// ROOM-LABEL: tile.kernel @sums
// ROOM:       tile.load %a
// ROOM:       tile.load %b
// ROOM:       tile.dot
// ROOM:       tile.dot
// ROOM:       tile.reduce
// ROOM:       tile.reduce
tile.kernel @sums(%a: !tile.buffer<token, 16xf32>, %b: !tile.buffer<token, 16xf32>, out %o: !tile.buffer<token, f32>, out %p: !tile.buffer<token, f32>)
    attributes {chunk = 32 : i64, blocks = 1 : i64} {
  %c = arith.constant 0 : index
  %0 = tile.load %a[%c] : <token, 16xf32> -> tensor<32x16xf32>
  %1 = tile.load %b[%c] : <token, 16xf32> -> tensor<32x16xf32>
  %2 = tile.dot %0, %0 {transpose_b} : tensor<32x16xf32>, tensor<32x16xf32> -> tensor<32x32xf32>
  %3 = tile.dot %1, %1 {transpose_b} : tensor<32x16xf32>, tensor<32x16xf32> -> tensor<32x32xf32>
  %4 = tile.reduce add %2 axis 1 : tensor<32x32xf32> -> tensor<32xf32>
  %5 = tile.reduce add %3 axis 1 : tensor<32x32xf32> -> tensor<32xf32>
  tile.store %4, %o[%c] : tensor<32xf32>, <token, f32>
  tile.store %5, %p[%c] : tensor<32xf32>, <token, f32>
}
