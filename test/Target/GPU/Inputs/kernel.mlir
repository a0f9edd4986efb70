tile.kernel @scores(%q: !tile.buffer<token, 32xbf16>, %k: !tile.buffer<token, 32xbf16>, out %o: !tile.buffer<token, 32xf32>)
    attributes {chunk = 32 : i64, blocks = 1 : i64} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %n = tile.num_chunks
  scf.for %c = %c0 to %n step %c1 {
    %0 = tile.load %q[%c] : <token, 32xbf16> -> tensor<32x32xf32>
    %1 = tile.load %k[%c] : <token, 32xbf16> -> tensor<32x32xf32>
    %2 = tile.dot %0, %1 pairs(causal) {transpose_b} : tensor<32x32xf32>, tensor<32x32xf32> -> tensor<32x32xf32>
    %3 = tile.reduce add %2 axis 1 : tensor<32x32xf32> -> tensor<32xf32>
    %4 = tile.broadcast %3 [0] : tensor<32xf32> -> tensor<32x32xf32>
    tile.store %4, %o[%c] : tensor<32x32xf32>, <token, 32xf32>
  }
}
