// One case for each numbered constraint, named by operation and number.
// RUN: fla-opt %s --verify-diagnostics --split-input-file

// buffer: kinds are few and listed.
// expected-error@+1 {{expected a buffer kind (token, param, value, state or saved), got 'tensor'}}
tile.kernel @buffer_kind(%a: !tile.buffer<tensor, 8xf32>) attributes {chunk = 8 : i64, blocks = 1 : i64} {}

// -----

// kernel_c1: one name and one mark for each argument.
// expected-error@+1 {{expected one name and one output mark for each of 1 arguments (C1)}}
"tile.kernel"() <{sym_name = "kernel_c1", arg_names = ["a"], outputs = array<i1>, chunk = 8 : i64, blocks = 1 : i64}> ({
^bb0(%a: !tile.buffer<state, 8xf32>):
  "tile.return"() : () -> ()
}) : () -> ()

// -----

// kernel_c2: kernels take memory, not values.
// expected-error@+1 {{expected argument 'a' to be a !tile.buffer, got 'f32' (C2)}}
tile.kernel @kernel_c2(%a: f32) attributes {chunk = 8 : i64, blocks = 1 : i64} {}

// -----

// load_c1: rows of tokens belong to a chunk.
tile.kernel @load_c1(%a: !tile.buffer<token, 8xf32>) attributes {chunk = 8 : i64, blocks = 1 : i64} {
  // expected-error@+1 {{expected a chunk index for a 'token' buffer (C1)}}
  %0 = tile.load %a : <token, 8xf32> -> tensor<8x8xf32>
}

// -----

// load_c1: a state does not.
tile.kernel @load_c1_state(%a: !tile.buffer<state, 8xf32>) attributes {chunk = 8 : i64, blocks = 1 : i64} {
  %c = tile.chunk_id
  // expected-error@+1 {{expected no chunk index for a 'state' buffer (C1)}}
  %0 = tile.load %a[%c] : <state, 8xf32> -> tensor<8xf32>
}

// -----

// load_c2: blocks cut one axis at most.
tile.kernel @load_c2(%a: !tile.buffer<state, 8x8xf32>) attributes {chunk = 8 : i64, blocks = 2 : i64} {
  // expected-error@+1 {{expected a tile of the shape of '!tile.buffer<state, 8x8xf32>', with at most one narrower axis, got 'tensor<4x4xf32>' (C2)}}
  %0 = tile.load %a : <state, 8x8xf32> -> tensor<4x4xf32>
}

// -----

// load_c2: axes do not appear.
tile.kernel @load_c2_rank(%a: !tile.buffer<token, f32>) attributes {chunk = 8 : i64, blocks = 1 : i64} {
  %c = tile.chunk_id
  // expected-error@+1 {{expected a tile of the shape of '!tile.buffer<token, f32>', with at most one narrower axis, got 'tensor<8x8xf32>' (C2)}}
  %0 = tile.load %a[%c] : <token, f32> -> tensor<8x8xf32>
}

// -----

// load_c3: a narrower axis holds what its block is given.
tile.kernel @load_c3(%a: !tile.buffer<state, 9xf32>) attributes {chunk = 8 : i64, blocks = 2 : i64} {
  // expected-error@+1 {{expected an axis of at least 5, the slice of 9 that each of 2 blocks holds, got 4 (C3)}}
  %0 = tile.load %a : <state, 9xf32> -> tensor<4xf32>
}

// -----

// inside_c1: one bound an axis.
tile.kernel @inside_c1(%a: !tile.buffer<state, 8xf32>) attributes {chunk = 8 : i64, blocks = 1 : i64} {
  // expected-error@+1 {{expected one positive bound for each axis of 'tensor<8x8xi1>', got 1 (C1)}}
  %0 = tile.inside [3] : tensor<8x8xi1>
}

// -----

// reshape_c1: as many elements in both boxes.
tile.kernel @reshape_c1(%a: !tile.buffer<state, 8x8xf32>) attributes {chunk = 8 : i64, blocks = 1 : i64} {
  %0 = tile.load %a : <state, 8x8xf32> -> tensor<8x8xf32>
  // expected-error@+1 {{expected boxes of as many elements inside 'tensor<8x8xf32>' and 'tensor<64xf32>' (C1)}}
  %1 = tile.reshape %0 [5, 6] to [25] : tensor<8x8xf32> -> tensor<64xf32>
}

// -----

// store_c2: as tile.load.
tile.kernel @store_c2(out %a: !tile.buffer<state, 8xf32>) attributes {chunk = 8 : i64, blocks = 1 : i64} {
  %0 = arith.constant dense<0.0> : tensor<1x8xf32>
  // expected-error@+1 {{expected a tile of the shape of '!tile.buffer<state, 8xf32>', with at most one narrower axis, got 'tensor<1x8xf32>' (C2)}}
  tile.store %0, %a : tensor<1x8xf32>, <state, 8xf32>
}

// -----

// broadcast_c1: sizes agree where an axis goes.
tile.kernel @broadcast_c1() attributes {chunk = 8 : i64, blocks = 1 : i64} {
  %0 = arith.constant dense<0.0> : tensor<8xf32>
  // expected-error@+1 {{expected increasing axes whose sizes agree, got 'tensor<8xf32>' -> 'tensor<8x4xf32>' (C1)}}
  %1 = tile.broadcast %0 [1] : tensor<8xf32> -> tensor<8x4xf32>
}

// -----

// reduce: the axis exists.
tile.kernel @reduce_axis() attributes {chunk = 8 : i64, blocks = 1 : i64} {
  %0 = arith.constant dense<0.0> : tensor<8xf32>
  // expected-error@+1 {{expected an axis below 1, got 1}}
  %1 = tile.reduce add %0 axis 1 : tensor<8xf32> -> f32
}

// -----

// reduce: the result lacks it.
tile.kernel @reduce_shape() attributes {chunk = 8 : i64, blocks = 1 : i64} {
  %0 = arith.constant dense<0.0> : tensor<8x4xf32>
  // expected-error@+1 {{expected the result to lack axis 1 of 'tensor<8x4xf32>', got 'tensor<4xf32>'}}
  %1 = tile.reduce add %0 axis 1 : tensor<8x4xf32> -> tensor<4xf32>
}

// -----

// dot_c1: matrices.
tile.kernel @dot_c1_rank() attributes {chunk = 8 : i64, blocks = 1 : i64} {
  %0 = arith.constant dense<0.0> : tensor<8xf32>
  // expected-error@+1 {{expected matrices (C1)}}
  %1 = tile.dot %0, %0 : tensor<8xf32>, tensor<8xf32> -> tensor<8xf32>
}

// -----

// dot_c1: whose sizes agree.
tile.kernel @dot_c1() attributes {chunk = 8 : i64, blocks = 1 : i64} {
  %0 = arith.constant dense<0.0> : tensor<8x4xf32>
  // expected-error@+1 {{expected sizes that agree, got 'tensor<8x4xf32>' and 'tensor<8x4xf32>' -> 'tensor<8x4xf32>' (C1)}}
  %1 = tile.dot %0, %0 : tensor<8x4xf32>, tensor<8x4xf32> -> tensor<8x4xf32>
}

// -----

// dot_c2: levels are powers of two.
tile.kernel @dot_c2() attributes {chunk = 8 : i64, blocks = 1 : i64} {
  %0 = arith.constant dense<0.0> : tensor<8x8xf32>
  // expected-error@+1 {{expected a power of two as level for pairs(level) alone, got 3 (C2)}}
  %1 = tile.dot %0, %0 pairs(level) level 3 : tensor<8x8xf32>, tensor<8x8xf32> -> tensor<8x8xf32>
}

// -----

// dot_c2: and belong to pairs(level).
tile.kernel @dot_c2_causal() attributes {chunk = 8 : i64, blocks = 1 : i64} {
  %0 = arith.constant dense<0.0> : tensor<8x8xf32>
  // expected-error@+1 {{expected a power of two as level for pairs(level) alone, got 4 (C2)}}
  %1 = tile.dot %0, %0 pairs(causal) level 4 : tensor<8x8xf32>, tensor<8x8xf32> -> tensor<8x8xf32>
}

// -----

// dot: pairs are a keyword, the choices are listed.
tile.kernel @dot_pairs() attributes {chunk = 8 : i64, blocks = 1 : i64} {
  %0 = arith.constant dense<0.0> : tensor<8x8xf32>
  // expected-error@+1 {{expected string or keyword containing one of the following enum values for attribute 'pairs' [all, causal, strict, level, diagonal]}}
  %1 = tile.dot %0, %0 pairs(some) : tensor<8x8xf32>, tensor<8x8xf32> -> tensor<8x8xf32>
}

// -----

// dot_c3: a sum starts from a tile of the result's type.
tile.kernel @dot_c3() attributes {chunk = 8 : i64, blocks = 1 : i64} {
  %0 = arith.constant dense<0.0> : tensor<8x8xf32>
  %1 = arith.constant dense<0.0> : tensor<8x4xf32>
  // expected-error@+1 {{expected an init of type 'tensor<8x8xf32>', got 'tensor<8x4xf32>' (C3)}}
  %2 = tile.dot %0, %0 init(%1 : tensor<8x4xf32>) : tensor<8x8xf32>, tensor<8x8xf32> -> tensor<8x8xf32>
}

// -----

// dot_c3: what pairs zeroes cannot start elsewhere.
tile.kernel @dot_c3_restricted() attributes {chunk = 8 : i64, blocks = 1 : i64} {
  %0 = arith.constant dense<0.0> : tensor<8x8xf32>
  // expected-error@+1 {{expected no init where pairs restricts the result (C3)}}
  %1 = tile.dot %0, %0 init(%0 : tensor<8x8xf32>) pairs(causal) {transpose_b} : tensor<8x8xf32>, tensor<8x8xf32> -> tensor<8x8xf32>
}

// -----

// copy_c4: a copy converts nothing.
tile.kernel @copy_c4(%a: !tile.buffer<token, 8xf32>) attributes {chunk = 8 : i64, blocks = 1 : i64} {
  %c = arith.constant 0 : index
  %room = tile.alloc : <2, 8x8xbf16>
  // expected-error@+1 {{expected room for elements of '!tile.buffer<token, 8xf32>', got '!tile.shared<2, 8x8xbf16>' (C4)}}
  tile.copy %a[%c], %room[%c] : <token, 8xf32>, <2, 8x8xbf16>
}

// -----

// read_c1: a stage holds one tile.
tile.kernel @read_c1() attributes {chunk = 8 : i64, blocks = 1 : i64} {
  %c = arith.constant 0 : index
  %room = tile.alloc : <2, 8x8xbf16>
  // expected-error@+1 {{expected a tile of the shape of '!tile.shared<2, 8x8xbf16>', got 'tensor<8x4xf32>' (C1)}}
  %0 = tile.read %room[%c] : <2, 8x8xbf16> -> tensor<8x4xf32>
}

// -----

// shared: at least one stage.
tile.kernel @stages() attributes {chunk = 8 : i64, blocks = 1 : i64} {
  // expected-error@+1 {{expected at least one stage, got 0}}
  %room = tile.alloc : <0, 8x8xbf16>
}

// -----

// kernel_c3: a grid point takes at least one chunk.
// expected-error@+1 {{expected a positive span, got 0 (C3)}}
tile.kernel @kernel_c3() attributes {chunk = 8 : i64, blocks = 1 : i64, over_chunks, span = 0 : i64} {}
