// A long kernel over chunks becomes two, of which the second reads what the first stored.
// RUN: fla-opt %s --fla-fission-chunks=longest=800 --split-input-file | FileCheck %s
// RUN: fla-opt %s --fla-fission-chunks=longest=100000 --split-input-file | FileCheck %s --check-prefix=WHOLE

// The scores are little to store, and products take them alone. Either half reads one state.
// CHECK-LABEL: tile.kernel @f_part0(
// CHECK-SAME:  out %o: {{.+}}, out %f_parts.0: !tile.buffer<saved, 32x32xbf16>)
// CHECK-SAME:  operands = bf16, over_chunks, {{.+}} roles = ["input", "input", "input", "temp", "output", "temp"]
// CHECK:       %[[C:.+]] = tile.chunk_id
// CHECK:       %[[P:.+]] = tile.dot %{{.+}}, %{{.+}} pairs(causal) {transpose_b}
// CHECK:       tile.store %[[P]], %f_parts.0[%[[C]]]
// CHECK-LABEL: tile.kernel @f(
// CHECK-SAME:  %q: {{.+}}, %v: {{.+}}, %d: {{.+}}, out %r: {{.+}}, %f_parts.0: !tile.buffer<saved, 32x32xbf16>)
// CHECK:       %[[P:.+]] = tile.load %f_parts.0
// CHECK:       tile.dot %[[P]], %{{.+}} {transpose_a}
// CHECK-COUNT-1: tile.store
// CHECK-NOT:   tile.dot
// WHOLE-NOT:   part0
tile.kernel @f(%q: !tile.buffer<token, 128xbf16>, %k: !tile.buffer<token, 128xbf16>, %v: !tile.buffer<token, 128xbf16>, %s: !tile.buffer<saved, 128x128xf32>, %d: !tile.buffer<saved, 128x128xf32>, out %o: !tile.buffer<token, 128xbf16>, out %r: !tile.buffer<token, 128xbf16>)
    attributes {chunk = 32 : i64, blocks = 1 : i64, over_chunks, roles = ["input", "input", "input", "temp", "temp", "output", "output"], partial = [false, false, false, false, false, false, false]} {
  %c = tile.chunk_id
  %0 = tile.load %q[%c] : <token, 128xbf16> -> tensor<32x128xf32>
  %1 = tile.load %k[%c] : <token, 128xbf16> -> tensor<32x128xf32>
  %2 = tile.load %v[%c] : <token, 128xbf16> -> tensor<32x128xf32>
  %3 = tile.load %s[%c] : <saved, 128x128xf32> -> tensor<128x128xf32>
  %4 = tile.load %d[%c] : <saved, 128x128xf32> -> tensor<128x128xf32>
  %5 = arith.addf %0, %0 : tensor<32x128xf32>
  %6 = tile.dot %5, %1 pairs(causal) {transpose_b} : tensor<32x128xf32>, tensor<32x128xf32> -> tensor<32x32xf32>
  %7 = tile.dot %6, %2 : tensor<32x32xf32>, tensor<32x128xf32> -> tensor<32x128xf32>
  %8 = tile.dot %5, %3 init(%7 : tensor<32x128xf32>) : tensor<32x128xf32>, tensor<128x128xf32> -> tensor<32x128xf32>
  %9 = tile.dot %6, %0 {transpose_a} : tensor<32x32xf32>, tensor<32x128xf32> -> tensor<32x128xf32>
  %10 = tile.dot %2, %4 init(%9 : tensor<32x128xf32>) {transpose_b} : tensor<32x128xf32>, tensor<128x128xf32> -> tensor<32x128xf32>
  tile.store %8, %o[%c] : tensor<32x128xf32>, <token, 128xbf16>
  tile.store %10, %r[%c] : tensor<32x128xf32>, <token, 128xbf16>
}

// -----

// What is loaded must not have been stored by the other half: a kernel that works in place stays whole.
// CHECK-LABEL: tile.kernel @in_place(
// CHECK-NOT:   tile.kernel
tile.kernel @in_place(%q: !tile.buffer<token, 128xbf16>, out %s: !tile.buffer<saved, 128x128xf32>, out %d: !tile.buffer<saved, 128x128xf32>)
    attributes {chunk = 32 : i64, blocks = 1 : i64, over_chunks} {
  %c = tile.chunk_id
  %0 = tile.load %q[%c] : <token, 128xbf16> -> tensor<32x128xf32>
  %1 = tile.load %s[%c] : <saved, 128x128xf32> -> tensor<128x128xf32>
  %2 = tile.load %d[%c] : <saved, 128x128xf32> -> tensor<128x128xf32>
  %3 = tile.dot %0, %0 init(%1 : tensor<128x128xf32>) {transpose_a} : tensor<32x128xf32>, tensor<32x128xf32> -> tensor<128x128xf32>
  %4 = tile.dot %0, %0 init(%2 : tensor<128x128xf32>) {transpose_a} : tensor<32x128xf32>, tensor<32x128xf32> -> tensor<128x128xf32>
  tile.store %3, %s[%c] : tensor<128x128xf32>, <saved, 128x128xf32>
  tile.store %4, %d[%c] : tensor<128x128xf32>, <saved, 128x128xf32>
}
