//===- Roles.h - what a compiled program's arguments stand for --*- C++ -*-===//
//
// Kernels and manifests give each argument a role and a name; these say which
// value of a problem or an answer it is: `initial_S`, `final_S`, `d_q`, ...
//
//===----------------------------------------------------------------------===//
#ifndef FLA_LIB_CHECK_ROLES_H
#define FLA_LIB_CHECK_ROLES_H

#include "fla/Check/Answer.h"
#include <optional>

namespace fla::check {

/// What the caller passes; nothing for results and temporaries.
std::optional<Tensor<double>> givenValue(llvm::StringRef role, llvm::StringRef name, const Problem &problem);

/// Files a result where it belongs; outputs come in their order.
void collectResult(llvm::StringRef role, llvm::StringRef name, Tensor<double> value, Answer &answer);

} // namespace fla::check

#endif
