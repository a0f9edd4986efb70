//===- CPU.h - code for the host's processor --------------------*- C++ -*-===//
//
// From tile kernels to object code. For examples see test/Target/CPU.
//
//===----------------------------------------------------------------------===//
#ifndef FLA_TARGET_CPU_CPU_H
#define FLA_TARGET_CPU_CPU_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

#include <memory>
#include <string>
#include <vector>

namespace fla {
#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "fla/Target/CPU/Passes.h.inc"

namespace cpu {

/// One compiled kernel, as the runtime launches it.
struct KernelInfo {
  std::string name;
  int64_t chunk = 0;          ///< tokens of a chunk
  int64_t blocks = 1;         ///< column blocks of the grid
  bool overChunks = false;    ///< the grid runs over chunks too
  int64_t workspaceBytes = 0; ///< bytes of workspace a thread needs
};

/// Object code of a module of kernels.
struct ObjectCode {
  std::vector<KernelInfo> kernels;
  std::string object; ///< a relocatable object file for the host
};

/// Lowers a module of `tile.kernel`s (left unchanged) to an object file for the
/// host's processor. Problems are reported as diagnostics at the kernel; a
/// failure of the code generator is one too, it never ends the process.
mlir::FailureOr<ObjectCode> compileToObject(mlir::ModuleOp module);

/// The LLVM IR that `compileToObject` would hand to the code generator, optimised.
mlir::FailureOr<std::string> compileToLLVMIR(mlir::ModuleOp module);

/// Bytes of the vector registers that code for this machine should use (16, 32 or 64).
int64_t hostVectorBytes();

/// Name and features of the host's processor: part of every cache key.
std::string hostDescription();

} // namespace cpu
} // namespace fla

#endif
