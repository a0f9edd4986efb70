// What nothing carried depends on leaves a reverse loop for a kernel after it.
// RUN: fla-opt %s --fla-fission-leaves --split-input-file | FileCheck %s
// RUN: fla-opt %s --fla-fission-leaves --fla-fission-loops --split-input-file | FileCheck %s --check-prefix=SHARED

// The example of the pass, in two blocks of columns. The loop keeps the products that are
// carried, the store of one, and stores what it carries as the leaf's product takes it, each
// block its own columns.
// CHECK-LABEL: tile.kernel @f(
// CHECK-SAME:  %q: {{.+}}, %k: {{.+}}, %do: {{.+}}, %last: {{.+}}, out %dv: {{.+}}, out %first: {{.+}}, out %f_after.0: !tile.buffer<saved, 32x64xbf16>)
// CHECK-SAME:  roles = ["input", "input", "d_output", "d_final_state", "d_input", "d_initial_state", "temp"]
// CHECK:       %[[N:.+]] = arith.subi
// CHECK:       scf.for %[[I:.+]] = {{.+}} iter_args(%[[S:.+]] = %{{.+}}) -> (tensor<32x32xf32>)
// CHECK-NEXT:    %[[C:.+]] = arith.subi %[[N]], %[[I]]
// CHECK-NEXT:    tile.store %[[S]], %f_after.0[%[[C]]] : tensor<32x32xf32>, <saved, 32x64xbf16>
// CHECK-COUNT-3: tile.dot
// CHECK-NOT:     tile.dot
// CHECK:         scf.yield
// CHECK-LABEL: tile.kernel @f_after(
// CHECK-SAME:  %v: {{.+}}, out %dk: {{.+}}, %f_after.0: !tile.buffer<saved, 32x64xbf16>)
// CHECK-SAME:  blocks = 2 : i64, {{.*}}over_chunks
// CHECK-NEXT:  %[[C:.+]] = tile.chunk_id
// CHECK-NEXT:  %[[S:.+]] = tile.load %f_after.0[%[[C]]] : <saved, 32x64xbf16> -> tensor<32x32xf32>
// CHECK:       %[[DK:.+]] = tile.dot %{{.+}}, %[[S]] {transpose_b}
// CHECK:       tile.store %{{.+}}, %dk[%[[C]]]

// What depends on the chunk alone, and both kernels need, is computed before.
// SHARED-LABEL: tile.kernel @g_chunks(
// SHARED-SAME:  out %g_chunks.0: !tile.buffer<saved, 32x32xbf16>)
// SHARED:       tile.inverse
// SHARED-LABEL: tile.kernel @g(
// SHARED-NOT:   tile.inverse
// SHARED:       tile.load %g_chunks.0
// SHARED-LABEL: tile.kernel @g_after(
// SHARED-NOT:   tile.inverse
// SHARED:       tile.load %g_chunks.0
// SHARED-NOT:   fla.twin
tile.kernel @f(%q: !tile.buffer<token, 32xbf16>, %k: !tile.buffer<token, 32xbf16>, %v: !tile.buffer<token, 64xbf16>, %do: !tile.buffer<token, 64xbf16>, %last: !tile.buffer<state, 32x64xf32>, out %dk: !tile.buffer<token, 2x32xf32>, out %dv: !tile.buffer<token, 64xf32>, out %first: !tile.buffer<state, 32x64xf32>)
    attributes {chunk = 32 : i64, blocks = 2 : i64, roles = ["input", "input", "input", "d_output", "d_final_state", "d_input", "d_input", "d_initial_state"], partial = [false, false, false, false, false, true, false, false]} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %n = tile.num_chunks
  %end = arith.subi %n, %c1 : index
  %0 = tile.load %last : <state, 32x64xf32> -> tensor<32x32xf32>
  %s = scf.for %i = %c0 to %n step %c1 iter_args(%ds = %0) -> (tensor<32x32xf32>) {
    %c = arith.subi %end, %i : index
    %1 = tile.load %q[%c] : <token, 32xbf16> -> tensor<32x32xf32>
    %2 = tile.load %k[%c] : <token, 32xbf16> -> tensor<32x32xf32>
    %3 = tile.load %v[%c] : <token, 64xbf16> -> tensor<32x32xf32>
    %4 = tile.load %do[%c] : <token, 64xbf16> -> tensor<32x32xf32>
    %5 = tile.dot %2, %ds : tensor<32x32xf32>, tensor<32x32xf32> -> tensor<32x32xf32>
    %6 = tile.dot %3, %ds {transpose_b} : tensor<32x32xf32>, tensor<32x32xf32> -> tensor<32x32xf32>
    %7 = tensor.expand_shape %6 [[0], [1, 2]] output_shape [32, 1, 32] : tensor<32x32xf32> into tensor<32x1x32xf32>
    tile.store %7, %dk[%c] : tensor<32x1x32xf32>, <token, 2x32xf32>
    tile.store %5, %dv[%c] : tensor<32x32xf32>, <token, 64xf32>
    %8 = tile.dot %2, %5 init(%ds : tensor<32x32xf32>) {transpose_a} : tensor<32x32xf32>, tensor<32x32xf32> -> tensor<32x32xf32>
    %9 = tile.dot %1, %4 init(%8 : tensor<32x32xf32>) {transpose_a} : tensor<32x32xf32>, tensor<32x32xf32> -> tensor<32x32xf32>
    scf.yield %9 : tensor<32x32xf32>
  }
  tile.store %s, %first : tensor<32x32xf32>, <state, 32x64xf32>
}

// -----

tile.kernel @g(%q: !tile.buffer<token, 32xbf16>, %k: !tile.buffer<token, 32xbf16>, %do: !tile.buffer<token, 32xbf16>, %last: !tile.buffer<state, 32x32xf32>, out %dk: !tile.buffer<token, 32xf32>, out %dv: !tile.buffer<token, 32xf32>, out %first: !tile.buffer<state, 32x32xf32>)
    attributes {chunk = 32 : i64, blocks = 1 : i64} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %n = tile.num_chunks
  %end = arith.subi %n, %c1 : index
  %0 = tile.load %last : <state, 32x32xf32> -> tensor<32x32xf32>
  %s = scf.for %i = %c0 to %n step %c1 iter_args(%ds = %0) -> (tensor<32x32xf32>) {
    %c = arith.subi %end, %i : index
    %1 = tile.load %q[%c] : <token, 32xbf16> -> tensor<32x32xf32>
    %2 = tile.load %k[%c] : <token, 32xbf16> -> tensor<32x32xf32>
    %4 = tile.load %do[%c] : <token, 32xbf16> -> tensor<32x32xf32>
    %m = tile.dot %1, %2 pairs(strict) {transpose_b} : tensor<32x32xf32>, tensor<32x32xf32> -> tensor<32x32xf32>
    %t = tile.inverse %m : tensor<32x32xf32>
    %5 = tile.dot %2, %ds : tensor<32x32xf32>, tensor<32x32xf32> -> tensor<32x32xf32>
    %6 = tile.dot %t, %5 {transpose_a} : tensor<32x32xf32>, tensor<32x32xf32> -> tensor<32x32xf32>
    %7 = tile.dot %t, %4 : tensor<32x32xf32>, tensor<32x32xf32> -> tensor<32x32xf32>
    %8 = tile.dot %7, %ds {transpose_b} : tensor<32x32xf32>, tensor<32x32xf32> -> tensor<32x32xf32>
    tile.store %8, %dk[%c] : tensor<32x32xf32>, <token, 32xf32>
    tile.store %7, %dv[%c] : tensor<32x32xf32>, <token, 32xf32>
    %9 = tile.dot %1, %6 init(%ds : tensor<32x32xf32>) {transpose_a} : tensor<32x32xf32>, tensor<32x32xf32> -> tensor<32x32xf32>
    scf.yield %9 : tensor<32x32xf32>
  }
  tile.store %s, %first : tensor<32x32xf32>, <state, 32x32xf32>
}

// -----

// A sum over tokens, and what it is multiplied by at the end, go round a loop of their own:
// then the product whose columns it adds is a leaf.
// CHECK-LABEL: tile.kernel @h(
// CHECK-SAME:  %q: {{.+}}, %do: {{.+}}, %last: {{.+}}, out %first: {{.+}}, out %h_after.0: !tile.buffer<saved, 32x32xbf16>)
// CHECK:       scf.for {{.+}} -> (tensor<32x32xf32>)
// CHECK-COUNT-1: tile.dot
// CHECK-NOT:     tile.dot
// CHECK-LABEL: tile.kernel @h_after(
// CHECK-SAME:  %k: {{.+}}, out %dk: {{.+}}, out %h_late.0: !tile.buffer<saved, 32xf32>, %h_after.0: {{.+}})
// CHECK:       tile.dot
// CHECK:       tile.reduce add
// CHECK-LABEL: tile.kernel @h_late(
// CHECK-SAME:  %w: {{.+}}, out %dw: {{.+}}, %h_late.0: !tile.buffer<saved, 32xf32>)
// CHECK:       %[[R:.+]] = scf.for {{.+}} iter_args(%[[SUM:.+]] = %{{.+}}) -> (tensor<32xf32>)
// CHECK:         %[[X:.+]] = tile.load %h_late.0[
// CHECK:         %[[NEXT:.+]] = arith.addf %[[SUM]], %[[X]]
// CHECK:         scf.yield %[[NEXT]]
// CHECK:       %[[W:.+]] = arith.mulf %[[R]]
// CHECK:       tile.store %[[W]], %dw
tile.kernel @h(%q: !tile.buffer<token, 32xbf16>, %k: !tile.buffer<token, 32xbf16>, %w: !tile.buffer<param, 32xf32>, %do: !tile.buffer<token, 32xbf16>, %last: !tile.buffer<state, 32x32xf32>, out %dk: !tile.buffer<token, 32xf32>, out %dw: !tile.buffer<state, 32xf32>, out %first: !tile.buffer<state, 32x32xf32>)
    attributes {chunk = 32 : i64, blocks = 1 : i64, roles = ["input", "input", "input", "d_output", "d_final_state", "d_input", "d_input", "d_initial_state"], partial = [false, false, false, false, false, false, false, false]} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %zero = arith.constant dense<0.0> : tensor<32xf32>
  %n = tile.num_chunks
  %end = arith.subi %n, %c1 : index
  %0 = tile.load %last : <state, 32x32xf32> -> tensor<32x32xf32>
  %p = tile.load %w : <param, 32xf32> -> tensor<32xf32>
  %s:2 = scf.for %i = %c0 to %n step %c1 iter_args(%ds = %0, %sum = %zero) -> (tensor<32x32xf32>, tensor<32xf32>) {
    %c = arith.subi %end, %i : index
    %1 = tile.load %q[%c] : <token, 32xbf16> -> tensor<32x32xf32>
    %2 = tile.load %k[%c] : <token, 32xbf16> -> tensor<32x32xf32>
    %3 = tile.load %do[%c] : <token, 32xbf16> -> tensor<32x32xf32>
    %4 = tile.dot %2, %ds : tensor<32x32xf32>, tensor<32x32xf32> -> tensor<32x32xf32>
    tile.store %4, %dk[%c] : tensor<32x32xf32>, <token, 32xf32>
    %5 = tile.reduce add %4 axis 0 : tensor<32x32xf32> -> tensor<32xf32>
    %6 = arith.addf %sum, %5 : tensor<32xf32>
    %7 = tile.dot %1, %3 init(%ds : tensor<32x32xf32>) {transpose_a} : tensor<32x32xf32>, tensor<32x32xf32> -> tensor<32x32xf32>
    scf.yield %7, %6 : tensor<32x32xf32>, tensor<32xf32>
  }
  %8 = arith.mulf %s#1, %p : tensor<32xf32>
  tile.store %8, %dw : tensor<32xf32>, <state, 32xf32>
  tile.store %s#0, %first : tensor<32x32xf32>, <state, 32x32xf32>
}
