//===- Numbers.h - values of a register's bits ------------------*- C++ -*-===//
//
// A register holds 64 bits: integers and 16-bit floats are zero-extended, a
// 32-bit float fills the low half. Each format below says how to get a number
// that the host computes with and how to round one back.
//
//===----------------------------------------------------------------------===//
#ifndef FLA_LIB_SIMULATOR_NUMBERS_H
#define FLA_LIB_SIMULATOR_NUMBERS_H

#include <bit>
#include <cmath>
#include <cstdint>

namespace fla::sim {

inline float asFloat(uint32_t bits) { return std::bit_cast<float>(bits); }
inline uint32_t asBits(float value) { return std::bit_cast<uint32_t>(value); }

/// Sign-extends the low `bits` bits.
inline int64_t signExtend(uint64_t value, unsigned bits) {
  unsigned shift = 64 - bits;
  return static_cast<int64_t>(value << shift) >> shift;
}

inline uint64_t lowBits(unsigned bits) { return bits >= 64 ? ~uint64_t(0) : (uint64_t(1) << bits) - 1; }

/// Moving the exponent by a multiplication makes subnormal numbers come out right.
inline float halfToFloat(uint16_t half) {
  uint32_t sign = uint32_t(half & 0x8000) << 16, magnitude = half & 0x7fff;
  if (magnitude >= 0x7c00)
    return asFloat(sign | 0x7f800000 | (magnitude & 0x3ff) << 13);
  return asFloat(sign | asBits(asFloat(magnitude << 13) * 0x1p112f));
}

/// To the nearest, ties to even; too large is infinite.
inline uint16_t floatToHalf(float value) {
  uint32_t bits = asBits(value), sign = bits >> 16 & 0x8000;
  bits &= 0x7fffffff;
  if (bits > 0x7f800000)
    return sign | 0x7e00;
  if (bits >= 0x477ff000)
    return sign | 0x7c00;
  if (bits < 0x38800000) // the sum's last bit is that of a subnormal half
    return sign | (asBits(asFloat(bits) + 0.5f) - asBits(0.5f));
  return sign | (bits - 0x38000000 + 0xfff + (bits >> 13 & 1)) >> 13;
}

inline float bfloatToFloat(uint16_t value) { return asFloat(uint32_t(value) << 16); }

/// To the nearest, ties to even.
inline uint16_t floatToBfloat(float value) {
  uint32_t bits = asBits(value);
  if ((bits & 0x7fffffff) > 0x7f800000)
    return bits >> 16 | 0x40;
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

struct F16 {
  using Number = float;
  static float get(uint64_t bits) { return halfToFloat(static_cast<uint16_t>(bits)); }
  static uint64_t put(float value) { return floatToHalf(value); }
};
struct BF16 {
  using Number = float;
  static float get(uint64_t bits) { return bfloatToFloat(static_cast<uint16_t>(bits)); }
  static uint64_t put(float value) { return floatToBfloat(value); }
};
struct F32 {
  using Number = float;
  static float get(uint64_t bits) { return asFloat(static_cast<uint32_t>(bits)); }
  static uint64_t put(float value) { return asBits(value); }
};
struct F64 {
  using Number = double;
  static double get(uint64_t bits) { return std::bit_cast<double>(bits); }
  static uint64_t put(double value) { return std::bit_cast<uint64_t>(value); }
};

} // namespace fla::sim

#endif // FLA_LIB_SIMULATOR_NUMBERS_H
