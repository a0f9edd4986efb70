//===- CreateTarget.cpp - the vendor of a chip ----------------------------===//
#include "../AMD/Atoms.h"
#include "../NVIDIA/Atoms.h"

namespace fla::gpu {

std::unique_ptr<Target> createTarget(const Chip &chip, MLIRContext *context) {
  return chip.vendor == Vendor::NVIDIA ? nvidia::createTarget(chip, context) : amd::createTarget(chip, context);
}

} // namespace fla::gpu
