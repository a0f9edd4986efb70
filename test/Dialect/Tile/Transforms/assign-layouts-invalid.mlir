// RUN: not fla-opt %s --fla-assign-layouts="warps=3" 2>&1 | FileCheck %s --check-prefix=WARPS
// RUN: not fla-opt %s --fla-assign-layouts="accumulator=16x8" 2>&1 | FileCheck %s --check-prefix=ATOM
// RUN: not fla-opt %s --fla-assign-layouts 2>&1 | FileCheck %s --check-prefix=SIZES

// WARPS: expected lanes and warps that are powers of two, got 32 and 3
// ATOM: expected the accumulator as 16x8 #tile.layout<...>, got '16x8'
// SIZES: expected sizes that are powers of two in a kernel for a GPU, got 'tensor<12xf32>'
tile.kernel @odd(%g: !tile.buffer<state, 12xf32>, out %o: !tile.buffer<state, 12xf32>) attributes {chunk = 8 : i64, blocks = 1 : i64} {
  %0 = tile.load %g : <state, 12xf32> -> tensor<12xf32>
  tile.store %0, %o : tensor<12xf32>, <state, 12xf32>
}
