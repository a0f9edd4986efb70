// What depends on no state leaves the loop over chunks.
// RUN: fla-opt %s --fla-fission-loops | FileCheck %s

// The example of the pass. Scores are operands, so they are stored as products take
// them; sums of gates keep their type. The loop's product reads all of the scores.
// CHECK-LABEL: tile.kernel @f_chunks(
// CHECK-SAME:  %q: {{.+}}, %k: {{.+}}, %g: {{.+}}, out %f_chunks.0: !tile.buffer<saved, 16xf32>, out %f_chunks.1: !tile.buffer<saved, 16x16xbf16>)
// CHECK-SAME:  operands = bf16, over_chunks
// CHECK-SAME:  roles = ["input", "input", "input", "temp", "temp"]
// CHECK:       %[[C:.+]] = tile.chunk_id
// CHECK:       %[[DECAY:.+]] = math.exp
// CHECK:       %[[SCORES:.+]] = tile.dot {{.+}} pairs(causal) {transpose_b}
// CHECK:       tile.segsum
// CHECK:       %[[DECAYED:.+]] = arith.mulf %[[SCORES]]
// CHECK:       tile.store %[[DECAY]], %f_chunks.0[%[[C]]]
// CHECK:       tile.store %[[DECAYED]], %f_chunks.1[%[[C]]]
// CHECK-LABEL: tile.kernel @f(
// CHECK-SAME:  %q: {{.+}}, %k: {{.+}}, %v: {{.+}}, %state: {{.+}}, out %o: {{.+}}, %f_chunks.0: {{.+}}, %f_chunks.1: {{.+}})
// CHECK-SAME:  roles = ["input", "input", "input", "initial_state", "output", "temp", "temp"]
// CHECK:       scf.for %[[I:[a-z0-9]+]] =
// CHECK-DAG:   %[[D:.+]] = tile.load %f_chunks.0[%[[I]]]
// CHECK-DAG:   %[[P:.+]] = tile.load %f_chunks.1[%[[I]]]
// CHECK-NOT:   tile.segsum
// CHECK:       tile.broadcast %[[D]] [0]
// CHECK:       tile.dot %[[P]], %{{.+}} init(%{{.+}} : tensor<16x8xf32>) : tensor<16x16xf32>
tile.kernel @f(%q: !tile.buffer<token, 8xbf16>, %k: !tile.buffer<token, 8xbf16>, %v: !tile.buffer<token, 8xbf16>, %g: !tile.buffer<token, bf16>, %state: !tile.buffer<state, 8x8xf32>, out %o: !tile.buffer<token, 8xbf16>)
    attributes {chunk = 16 : i64, blocks = 1 : i64, roles = ["input", "input", "input", "input", "initial_state", "output"], partial = [false, false, false, false, false, false]} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %n = tile.num_chunks
  %0 = tile.load %state : <state, 8x8xf32> -> tensor<8x8xf32>
  scf.for %c = %c0 to %n step %c1 iter_args(%s = %0) -> (tensor<8x8xf32>) {
    %1 = tile.load %q[%c] : <token, 8xbf16> -> tensor<16x8xf32>
    %2 = tile.load %k[%c] : <token, 8xbf16> -> tensor<16x8xf32>
    %3 = tile.load %v[%c] : <token, 8xbf16> -> tensor<16x8xf32>
    %4 = tile.load %g[%c] : <token, bf16> -> tensor<16xf32>
    %5 = tile.cumsum %4 : tensor<16xf32>
    %6 = math.exp %5 : tensor<16xf32>
    %7 = tile.broadcast %6 [0] : tensor<16xf32> -> tensor<16x8xf32>
    %8 = tile.dot %1, %s : tensor<16x8xf32>, tensor<8x8xf32> -> tensor<16x8xf32>
    %9 = arith.mulf %8, %7 : tensor<16x8xf32>
    %10 = tile.dot %1, %2 pairs(causal) {transpose_b} : tensor<16x8xf32>, tensor<16x8xf32> -> tensor<16x16xf32>
    %11 = tile.segsum %4 : tensor<16xf32> -> tensor<16x16xf32>
    %12 = math.exp %11 : tensor<16x16xf32>
    %13 = arith.mulf %10, %12 : tensor<16x16xf32>
    %14 = tile.dot %13, %3 init(%9 : tensor<16x8xf32>) pairs(causal) : tensor<16x16xf32>, tensor<16x8xf32> -> tensor<16x8xf32>
    %15 = tile.dot %2, %3 init(%s : tensor<8x8xf32>) {transpose_a} : tensor<16x8xf32>, tensor<16x8xf32> -> tensor<8x8xf32>
    tile.store %14, %o[%c] : tensor<16x8xf32>, <token, 8xbf16>
    scf.yield %15 : tensor<8x8xf32>
  }
}

// A store of what reads no state moves, with a loop that runs backwards; loads and
// elementwise arithmetic on them are repeated; scores whose other pairs are not known to be
// zero stay restricted, and in the compute type where more than products read them.
// CHECK-LABEL: tile.kernel @reverse_chunks(
// CHECK-SAME:  %q: {{.+}}, out %d: {{.+}}, out %reverse_chunks.0: !tile.buffer<saved, 16x16xf32>)
// CHECK:       %[[Q:.+]] = tile.load %q
// CHECK:       %[[SCORES:.+]] = tile.dot %[[Q]], %[[Q]] {transpose_b}
// CHECK:       %[[READ:.+]] = tile.dot %[[SCORES]], %[[Q]]
// CHECK:       tile.store %[[READ]], %d
// CHECK:       tile.store %[[SCORES]], %reverse_chunks.0
// CHECK-LABEL: tile.kernel @reverse(
// CHECK-SAME:  %q: {{.+}}, %state: {{.+}}, out %o: {{.+}}, %reverse_chunks.0: {{.+}})
// CHECK:       scf.for
// CHECK-DAG:   %[[P:.+]] = tile.load %reverse_chunks.0
// CHECK-DAG:   %[[Q:.+]] = tile.load %q
// CHECK:       %[[TWICE:.+]] = arith.addf %[[Q]], %[[Q]]
// CHECK:       tile.dot %[[TWICE]], %[[P]] init({{.+}}) {transpose_a}
// CHECK:       tile.dot %[[P]], %{{.+}} pairs(strict)
// CHECK:       arith.addf %[[P]]
tile.kernel @reverse(%q: !tile.buffer<token, 16xbf16>, %state: !tile.buffer<state, 16x16xf32>, out %o: !tile.buffer<token, 16xbf16>, out %d: !tile.buffer<token, 16xbf16>)
    attributes {chunk = 16 : i64, blocks = 1 : i64, roles = ["input", "initial_state", "output", "d_input"], partial = [false, false, false, false]} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %n = tile.num_chunks
  %last = arith.subi %n, %c1 : index
  %0 = tile.load %state : <state, 16x16xf32> -> tensor<16x16xf32>
  scf.for %i = %c0 to %n step %c1 iter_args(%s = %0) -> (tensor<16x16xf32>) {
    %c = arith.subi %last, %i : index
    %1 = tile.load %q[%c] : <token, 16xbf16> -> tensor<16x16xf32>
    %2 = tile.dot %1, %1 {transpose_b} : tensor<16x16xf32>, tensor<16x16xf32> -> tensor<16x16xf32>
    %3 = tile.dot %2, %1 : tensor<16x16xf32>, tensor<16x16xf32> -> tensor<16x16xf32>
    tile.store %3, %d[%c] : tensor<16x16xf32>, <token, 16xbf16>
    %4 = arith.addf %1, %1 : tensor<16x16xf32>
    %5 = tile.dot %4, %2 init(%s : tensor<16x16xf32>) {transpose_a} : tensor<16x16xf32>, tensor<16x16xf32> -> tensor<16x16xf32>
    %6 = tile.dot %2, %s pairs(strict) : tensor<16x16xf32>, tensor<16x16xf32> -> tensor<16x16xf32>
    %7 = arith.addf %2, %6 : tensor<16x16xf32>
    tile.store %7, %o[%c] : tensor<16x16xf32>, <token, 16xbf16>
    scf.yield %5 : tensor<16x16xf32>
  }
}

// What differs between blocks of columns stays; a loop with nothing else stays whole.
// CHECK-NOT:   tile.kernel @blocks_chunks
// CHECK-LABEL: tile.kernel @blocks(
// CHECK:       scf.for
// CHECK:       tile.dot
tile.kernel @blocks(%v: !tile.buffer<token, 16xbf16>, %state: !tile.buffer<state, 8x8xf32>, out %o: !tile.buffer<token, 16xbf16>) attributes {chunk = 8 : i64, blocks = 2 : i64} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %n = tile.num_chunks
  %0 = tile.load %state : <state, 8x8xf32> -> tensor<8x8xf32>
  scf.for %c = %c0 to %n step %c1 iter_args(%s = %0) -> (tensor<8x8xf32>) {
    %1 = tile.load %v[%c] : <token, 16xbf16> -> tensor<8x8xf32>
    %2 = tile.dot %1, %1 {transpose_b} : tensor<8x8xf32>, tensor<8x8xf32> -> tensor<8x8xf32>
    %3 = tile.dot %2, %s : tensor<8x8xf32>, tensor<8x8xf32> -> tensor<8x8xf32>
    tile.store %3, %o[%c] : tensor<8x8xf32>, <token, 16xbf16>
    scf.yield %3 : tensor<8x8xf32>
  }
}

// Cheap work alone is no kernel.
// CHECK-NOT:   tile.kernel @cheap_chunks
// CHECK-LABEL: tile.kernel @cheap(
tile.kernel @cheap(%g: !tile.buffer<token, 8xf32>, %state: !tile.buffer<state, 8xf32>, out %o: !tile.buffer<token, 8xf32>) attributes {chunk = 8 : i64, blocks = 1 : i64} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %n = tile.num_chunks
  %0 = tile.load %state : <state, 8xf32> -> tensor<8xf32>
  scf.for %c = %c0 to %n step %c1 iter_args(%s = %0) -> (tensor<8xf32>) {
    %1 = tile.load %g[%c] : <token, 8xf32> -> tensor<8x8xf32>
    %2 = math.exp %1 : tensor<8x8xf32>
    %prev, %next, %end = tile.scan linear %s, %2, %1 : tensor<8xf32>, tensor<8x8xf32>
    tile.store %next, %o[%c] : tensor<8x8xf32>, <token, 8xf32>
    scf.yield %end : tensor<8xf32>
  }
}

// A scan of what tokens bring goes round a loop of its own before the rest and leaves what it carries into each chunk.
// From there all chunks scan at once; the products of what was scanned leave the other loop.
// CHECK-LABEL: tile.kernel @scanned_early(
// CHECK-SAME:  %k: {{.+}}, %z: {{.+}}, out %last: {{.+}}, out %scanned.0: !tile.buffer<saved, 16xf32>)
// CHECK-SAME:  roles = ["input", "initial_state", "final_state", "temp"]
// CHECK:       scf.for %[[I:[a-z0-9]+]] = {{.+}} iter_args(%[[Z:[a-z0-9]+]] = %{{.+}}) -> (tensor<16xf32>)
// CHECK:       tile.store %[[Z]], %scanned.0[%[[I]]]
// CHECK:       tile.scan linear %[[Z]]
// CHECK-NOT:   tile.dot
// CHECK-LABEL: tile.kernel @scanned_chunks(
// CHECK-SAME:  %k: {{.+}}, %scanned.0: {{.+}}, out %scanned_chunks.0: {{.+}}, out %scanned_chunks.1: {{.+}})
// CHECK:       %[[C:.+]] = tile.chunk_id
// CHECK:       %[[START:.+]] = tile.load %scanned.0[%[[C]]]
// CHECK:       tile.scan linear %[[START]]
// CHECK:       tile.dot {{.+}} pairs(causal) {transpose_b}
// CHECK-LABEL: tile.kernel @scanned(
// CHECK:       scf.for {{.+}} -> (tensor<16x16xf32>)
// CHECK-NOT:   tile.scan
// CHECK-NOT:   transpose_b
tile.kernel @scanned(%k: !tile.buffer<token, 16xbf16>, %state: !tile.buffer<state, 16x16xf32>, %z: !tile.buffer<state, 16xf32>, out %o: !tile.buffer<token, 16xbf16>, out %last: !tile.buffer<state, 16xf32>)
    attributes {chunk = 16 : i64, blocks = 1 : i64, roles = ["input", "initial_state", "initial_state", "output", "final_state"], partial = [false, false, false, false, false]} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %n = tile.num_chunks
  %0 = tile.load %state : <state, 16x16xf32> -> tensor<16x16xf32>
  %1 = tile.load %z : <state, 16xf32> -> tensor<16xf32>
  %r:2 = scf.for %c = %c0 to %n step %c1 iter_args(%s = %0, %zs = %1) -> (tensor<16x16xf32>, tensor<16xf32>) {
    %2 = tile.load %k[%c] : <token, 16xbf16> -> tensor<16x16xf32>
    %prev, %next, %end = tile.scan linear %zs, %2, %2 : tensor<16xf32>, tensor<16x16xf32>
    %3 = tile.dot %2, %next pairs(causal) {transpose_b} : tensor<16x16xf32>, tensor<16x16xf32> -> tensor<16x16xf32>
    %4 = tile.dot %next, %s : tensor<16x16xf32>, tensor<16x16xf32> -> tensor<16x16xf32>
    %5 = tile.dot %3, %2 init(%4 : tensor<16x16xf32>) pairs(causal) : tensor<16x16xf32>, tensor<16x16xf32> -> tensor<16x16xf32>
    %6 = tile.dot %next, %2 init(%s : tensor<16x16xf32>) {transpose_a} : tensor<16x16xf32>, tensor<16x16xf32> -> tensor<16x16xf32>
    tile.store %5, %o[%c] : tensor<16x16xf32>, <token, 16xbf16>
    scf.yield %6, %end : tensor<16x16xf32>, tensor<16xf32>
  }
  tile.store %r#1, %last : tensor<16xf32>, <state, 16xf32>
}

// No product needs what is scanned here: no more would leave the loop without the scan, so it stays in it.
// CHECK-NOT:   tile.kernel @normalized_early
// CHECK:       tile.kernel @normalized_chunks(
// CHECK:       tile.kernel @normalized(
// CHECK:       scf.for {{.+}} -> (tensor<16x16xf32>, tensor<16xf32>)
// CHECK:       tile.scan
tile.kernel @normalized(%k: !tile.buffer<token, 16xbf16>, %state: !tile.buffer<state, 16x16xf32>, %z: !tile.buffer<state, 16xf32>, out %o: !tile.buffer<token, 16xbf16>) attributes {chunk = 16 : i64, blocks = 1 : i64} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %n = tile.num_chunks
  %0 = tile.load %state : <state, 16x16xf32> -> tensor<16x16xf32>
  %1 = tile.load %z : <state, 16xf32> -> tensor<16xf32>
  scf.for %c = %c0 to %n step %c1 iter_args(%s = %0, %zs = %1) -> (tensor<16x16xf32>, tensor<16xf32>) {
    %2 = tile.load %k[%c] : <token, 16xbf16> -> tensor<16x16xf32>
    %prev, %next, %end = tile.scan linear %zs, %2, %2 : tensor<16xf32>, tensor<16x16xf32>
    %3 = tile.dot %2, %2 pairs(causal) {transpose_b} : tensor<16x16xf32>, tensor<16x16xf32> -> tensor<16x16xf32>
    %4 = tile.dot %2, %s : tensor<16x16xf32>, tensor<16x16xf32> -> tensor<16x16xf32>
    %5 = tile.dot %3, %2 init(%4 : tensor<16x16xf32>) pairs(causal) : tensor<16x16xf32>, tensor<16x16xf32> -> tensor<16x16xf32>
    %6 = tile.dot %2, %2 init(%s : tensor<16x16xf32>) {transpose_a} : tensor<16x16xf32>, tensor<16x16xf32> -> tensor<16x16xf32>
    %7 = arith.divf %5, %next : tensor<16x16xf32>
    tile.store %7, %o[%c] : tensor<16x16xf32>, <token, 16xbf16>
    scf.yield %6, %end : tensor<16x16xf32>, tensor<16xf32>
  }
}
