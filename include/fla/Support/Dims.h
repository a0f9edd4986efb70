//===- Dims.h - sizes of named dimensions -----------------------*- C++ -*-===//
#ifndef FLA_SUPPORT_DIMS_H
#define FLA_SUPPORT_DIMS_H

#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringRef.h"
#include <optional>

namespace fla {

/// Evaluates a dimension such as `K`, `1 + D + D*D`, `2*R` or `K'` (a second
/// axis of K's size). Grammar: sums of products of names, numbers and
/// parentheses. Nothing when a name is unknown or the text is malformed.
std::optional<int64_t> evaluateDim(llvm::StringRef expression, const llvm::StringMap<int64_t> &sizes);

/// Names that occur in a dimension expression, without primes.
void collectDimNames(llvm::StringRef expression, llvm::StringMap<int64_t> &names);

} // namespace fla

#endif
