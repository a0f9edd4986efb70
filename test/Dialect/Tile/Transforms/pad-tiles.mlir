// Axes become powers of two; what was added is cleared only where it would count.
// RUN: fla-opt %s --fla-pad-tiles --cse --split-input-file --verify-diagnostics | FileCheck %s

// Loads are zero beyond their buffer, so a product of loads needs no mask; an exponential is not.
// CHECK-LABEL: tile.kernel @sums
// CHECK:       %[[Q:.+]] = tile.load %q{{.+}} : <token, 100xf32> -> tensor<16x128xf32>
// CHECK:       %[[K:.+]] = tile.load %k{{.+}} : <token, 100xf32> -> tensor<16x128xf32>
// CHECK:       tile.dot %[[Q]], %[[K]] {transpose_b} : tensor<16x128xf32>, tensor<16x128xf32> -> tensor<16x16xf32>
// CHECK:       %[[QK:.+]] = arith.mulf %[[Q]], %[[K]]
// CHECK:       tile.reduce add %[[QK]] axis 1 : tensor<16x128xf32> -> tensor<16xf32>
// CHECK:       %[[E:.+]] = math.exp %[[Q]]
// CHECK:       %[[IN:.+]] = tile.inside [16, 100] : tensor<16x128xi1>
// CHECK:       %[[M:.+]] = arith.select %[[IN]], %[[E]], %{{.+}}
// CHECK:       tile.reduce add %[[M]] axis 1
tile.kernel @sums(%q: !tile.buffer<token, 100xf32>, %k: !tile.buffer<token, 100xf32>, out %o: !tile.buffer<token, f32>)
    attributes {chunk = 16 : i64, blocks = 1 : i64} {
  %c = arith.constant 0 : index
  %0 = tile.load %q[%c] : <token, 100xf32> -> tensor<16x100xf32>
  %1 = tile.load %k[%c] : <token, 100xf32> -> tensor<16x100xf32>
  %2 = tile.dot %0, %1 {transpose_b} : tensor<16x100xf32>, tensor<16x100xf32> -> tensor<16x16xf32>
  %3 = tile.reduce add %2 axis 1 : tensor<16x16xf32> -> tensor<16xf32>
  %4 = arith.mulf %0, %1 : tensor<16x100xf32>
  %5 = tile.reduce add %4 axis 1 : tensor<16x100xf32> -> tensor<16xf32>
  %6 = math.exp %0 : tensor<16x100xf32>
  %7 = tile.reduce add %6 axis 1 : tensor<16x100xf32> -> tensor<16xf32>
  %8 = arith.addf %3, %5 : tensor<16xf32>
  %9 = arith.addf %8, %7 : tensor<16xf32>
  tile.store %9, %o[%c] : tensor<16xf32>, <token, f32>
}

// -----

// A maximum starts from -inf. Rows of a chunk are a power of two already.
// CHECK-LABEL: tile.kernel @maximum
// CHECK:       %[[LOW:.+]] = arith.constant dense<0xFF800000> : tensor<16x4xf32>
// CHECK:       %[[M:.+]] = arith.select %{{.+}}, %{{.+}}, %[[LOW]]
// CHECK:       tile.reduce max %[[M]] axis 1 : tensor<16x4xf32> -> tensor<16xf32>
tile.kernel @maximum(%q: !tile.buffer<token, 3xf32>, out %o: !tile.buffer<token, f32>) attributes {chunk = 16 : i64, blocks = 1 : i64} {
  %c = arith.constant 0 : index
  %0 = tile.load %q[%c] : <token, 3xf32> -> tensor<16x3xf32>
  %1 = tile.reduce max %0 axis 1 : tensor<16x3xf32> -> tensor<16xf32>
  tile.store %1, %o[%c] : tensor<16xf32>, <token, f32>
}

// -----

// A state that begins with zeros keeps them: what each turn yields is cleared if it must be.
// CHECK-LABEL: tile.kernel @carry
// CHECK:       scf.for {{.+}} iter_args(%[[S:.+]] = %{{.+}}) -> (tensor<4x8xf32>)
// CHECK:         %[[N:.+]] = math.cos %[[S]]
// CHECK:         %[[IN:.+]] = tile.inside [3, 5] : tensor<4x8xi1>
// CHECK:         %[[M:.+]] = arith.select %[[IN]], %[[N]]
// CHECK:         scf.yield %[[M]] : tensor<4x8xf32>
tile.kernel @carry(%h: !tile.buffer<state, 3x5xf32>, out %o: !tile.buffer<state, 3x5xf32>) attributes {chunk = 16 : i64, blocks = 1 : i64} {
  %0 = tile.load %h : <state, 3x5xf32> -> tensor<3x5xf32>
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %n = tile.num_chunks
  %1 = scf.for %c = %c0 to %n step %c1 iter_args(%s = %0) -> (tensor<3x5xf32>) {
    %2 = math.cos %s : tensor<3x5xf32>
    scf.yield %2 : tensor<3x5xf32>
  }
  tile.store %1, %o : tensor<3x5xf32>, <state, 3x5xf32>
}

// -----

// A part is inserted with what was added to it, which then is taken back. The
// second one would reach beyond the whole, so it goes into a larger tile first.
// CHECK-LABEL: tile.kernel @concat
// CHECK:       %[[A:.+]] = tensor.insert_slice %{{.+}} into %[[ZERO:.+]][0, 0] [4, 8] [1, 1] : tensor<4x8xf32> into tensor<4x16xf32>
// CHECK:       %[[BOX:.+]] = tile.inside [4, 5] : tensor<4x16xi1>
// CHECK:       %[[ONE:.+]] = arith.select %[[BOX]], %[[A]], %[[ZERO]]
// CHECK:       %[[WIDE:.+]] = tensor.insert_slice %[[ONE]] into %{{.+}}[0, 0] [4, 16] [1, 1] : tensor<4x16xf32> into tensor<4x32xf32>
// CHECK:       %[[B:.+]] = tensor.insert_slice %{{.+}} into %[[WIDE]][0, 5] [4, 16] [1, 1] : tensor<4x16xf32> into tensor<4x32xf32>
// CHECK:       %[[FRONT:.+]] = tensor.extract_slice %[[B]][0, 0] [4, 16] [1, 1]
// CHECK:       arith.select %{{.+}}, %[[FRONT]], %[[ONE]]
tile.kernel @concat(%a: !tile.buffer<token, 5xf32>, %b: !tile.buffer<token, 9xf32>, out %o: !tile.buffer<token, 14xf32>)
    attributes {chunk = 4 : i64, blocks = 1 : i64} {
  %c = arith.constant 0 : index
  %0 = tile.load %a[%c] : <token, 5xf32> -> tensor<4x5xf32>
  %1 = tile.load %b[%c] : <token, 9xf32> -> tensor<4x9xf32>
  %2 = arith.constant dense<0.0> : tensor<4x14xf32>
  %3 = tensor.insert_slice %0 into %2[0, 0] [4, 5] [1, 1] : tensor<4x5xf32> into tensor<4x14xf32>
  %4 = tensor.insert_slice %1 into %3[0, 5] [4, 9] [1, 1] : tensor<4x9xf32> into tensor<4x14xf32>
  tile.store %4, %o[%c] : tensor<4x14xf32>, <token, 14xf32>
}

// -----

// The block's slice of 48 columns of 96 lies in a tile of 64.
// CHECK-LABEL: tile.kernel @blocks
// CHECK:       tile.load %v{{.+}} : <token, 96xf32> -> tensor<4x64xf32>
// CHECK:       tile.inside [4, 48] : tensor<4x64xi1>
tile.kernel @blocks(%v: !tile.buffer<token, 96xf32>, out %o: !tile.buffer<token, 2xf32>) attributes {chunk = 4 : i64, blocks = 2 : i64} {
  %c = arith.constant 0 : index
  %0 = tile.load %v[%c] : <token, 96xf32> -> tensor<4x48xf32>
  %1 = math.exp %0 : tensor<4x48xf32>
  %2 = tile.reduce add %1 axis 1 : tensor<4x48xf32> -> tensor<4xf32>
  %3 = tensor.expand_shape %2 [[0, 1]] output_shape [4, 1] : tensor<4xf32> into tensor<4x1xf32>
  tile.store %3, %o[%c] : tensor<4x1xf32>, <token, 2xf32>
}

// -----

// Of flattened axes only the first may grow: others leave gaps, which are closed.
// CHECK-LABEL: tile.kernel @flatten
// CHECK:       tile.reshape %{{.+}} [4, 5, 5] to [4, 25] : tensor<4x8x8xf32> -> tensor<4x32xf32>
// CHECK:       tensor.collapse_shape %{{.+}} {{\[\[}}0], [1, 2]] : tensor<4x8x8xf32> into tensor<4x64xf32>
tile.kernel @flatten(%a: !tile.buffer<token, 5x5xf32>, %b: !tile.buffer<token, 5x8xf32>, out %o: !tile.buffer<token, 25xf32>, out %p: !tile.buffer<token, 40xf32>)
    attributes {chunk = 4 : i64, blocks = 1 : i64} {
  %c = arith.constant 0 : index
  %0 = tile.load %a[%c] : <token, 5x5xf32> -> tensor<4x5x5xf32>
  %1 = tensor.collapse_shape %0 [[0], [1, 2]] : tensor<4x5x5xf32> into tensor<4x25xf32>
  tile.store %1, %o[%c] : tensor<4x25xf32>, <token, 25xf32>
  %2 = tile.load %b[%c] : <token, 5x8xf32> -> tensor<4x5x8xf32>
  %3 = tensor.collapse_shape %2 [[0], [1, 2]] : tensor<4x5x8xf32> into tensor<4x40xf32>
  tile.store %3, %p[%c] : tensor<4x40xf32>, <token, 40xf32>
}

// -----

// expected-error@+1 {{expected a chunk of a power of two of tokens, got 12}}
tile.kernel @chunk(%a: !tile.buffer<state, 5xf32>) attributes {chunk = 12 : i64, blocks = 1 : i64} {
}
