//===- RandomKernels.h - random tile kernels --------------------*- C++ -*-===//
#ifndef FLA_UNITTESTS_TILE_RANDOMKERNELS_H
#define FLA_UNITTESTS_TILE_RANDOMKERNELS_H

#include <cstdint>
#include <string>

namespace fla::testing {

/// The text of a kernel @k of 8 tokens a chunk that loads tiles of odd sizes,
/// works on them with tile, arith, math and tensor operations, and stores every
/// tile that it made. Inputs are %p*, written buffers %q*.
std::string randomKernel(uint64_t seed);

} // namespace fla::testing

#endif
