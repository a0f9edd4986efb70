//===- CHeader.h - a C header for an object file of kernels -----*- C++ -*-===//
//
// What a C program needs to link and call kernels with no library of ours.
// For an example see examples/c and test/Tools/fla-translate.
//
//===----------------------------------------------------------------------===//
#ifndef FLA_TARGET_CHEADER_CHEADER_H
#define FLA_TARGET_CHEADER_CHEADER_H

#include "fla/Target/CPU/CPU.h"

namespace fla {

/// Writes a header that declares the kernels of `module` as `code` holds them:
/// one structure of buffers and one driver a kernel. `fileName` names the include
/// guard. Fails with a diagnostic if a kernel's name is no C identifier.
mlir::LogicalResult writeCHeader(mlir::ModuleOp module, const cpu::ObjectCode &code, llvm::StringRef fileName, llvm::raw_ostream &os);

} // namespace fla

#endif
