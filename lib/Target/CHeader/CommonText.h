//===- CommonText.h - what every generated C header says --------*- C++ -*-===//
#ifndef FLA_LIB_TARGET_CHEADER_COMMONTEXT_H
#define FLA_LIB_TARGET_CHEADER_COMMONTEXT_H

namespace fla {
/// Types of the calling convention (as in fla/Runtime/Kernel.h), helpers that
/// describe contiguous tensors, and the loop over a kernel's grid; guarded, so that several
/// generated headers may be included together.
extern const char *const kCommonHeaderText;
} // namespace fla

#endif
