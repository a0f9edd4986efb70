//===- Serialize.h - from device form to code of a GPU ----------*- C++ -*-===//
//
// Device form: a module of `llvm.func`s with structured bodies (scf, arith, llvm
// and the vendor's dialect: nvvm or rocdl). Kernels carry
//
//   fla.gpu_kernel           unit
//   fla.threads = 128        threads of a block, a multiple of the chip's lanes
//   fla.shared = 16384       bytes of shared memory of a block
//   fla.chunk, fla.blocks    the grid (see fla/Target/CPU/CPU.h), optional
//   fla.over_chunks          unit, optional
//
// Shared memory is one `llvm.mlir.global external @fla_shared` in address space 3:
// without size on NVIDIA, with all of its size on AMD.
//
// For examples see test/Target/NVIDIA and test/Target/AMD.
//
//===----------------------------------------------------------------------===//
#ifndef FLA_TARGET_GPU_SERIALIZE_H
#define FLA_TARGET_GPU_SERIALIZE_H

#include "fla/Target/GPU/Chip.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/Support/CodeGen.h"

#include <memory>
#include <shared_mutex>
#include <string>
#include <vector>

namespace llvm {
class LLVMContext;
class Module;
} // namespace llvm

namespace fla::gpu {

/// One compiled kernel: how to launch it and what it uses. Resources that only the
/// last step knows (PTX has no registers yet) are -1.
struct KernelResources {
  std::string name;
  int64_t chunk = 0;              ///< tokens of a chunk
  int64_t blocks = 1;             ///< column blocks of the grid
  bool overChunks = false;        ///< the grid runs over chunks too
  int64_t threads = 0;            ///< of a block
  int64_t dynamicSharedBytes = 0; ///< to name in the launch; 0 on AMD, where all of it is static
  int64_t sharedBytes = 0;        ///< of a block, static and dynamic
  int64_t registers = -1;         ///< of a thread; on CDNA accumulation registers included
  int64_t scalarRegisters = -1;   ///< of a wave (AMD)
  int64_t spillBytes = -1;        ///< of a thread, stored and loaded; on AMD spilled registers times 4
  int64_t stackBytes = -1;        ///< of a thread, spills included
};

struct GPUCode {
  std::string code;
  std::string format; ///< "ptx", "cubin", "hsaco", or "asm" (AMD's assembly)
  std::vector<KernelResources> kernels;
};

/// Compiles a module in device form (left unchanged): to PTX or AMD's assembly, or,
/// if `binary`, to a cubin (needs ptxas) or an hsaco. Problems are diagnostics at
/// the kernel; a fatal error of LLVM is one too and never ends the process.
mlir::FailureOr<GPUCode> compileDevice(mlir::ModuleOp deviceForm, const Chip &chip, bool binary);

/// The LLVM IR that `compileDevice` hands to the code generator, before optimisation.
mlir::FailureOr<std::unique_ptr<llvm::Module>> translateDeviceModule(mlir::ModuleOp deviceForm, const Chip &chip, llvm::LLVMContext &context);

/// Whether the module holds a kernel in device form.
bool isDeviceForm(mlir::ModuleOp module);

/// The dialects that device form is written in.
void registerDeviceDialects(mlir::DialectRegistry &registry);

/// A table: a line a kernel with registers, shared memory, spills and occupancy.
void printResources(llvm::ArrayRef<KernelResources> kernels, const Chip &chip, llvm::raw_ostream &os);

//===----------------------------------------------------------------------===//
// For the vendors' parts
//===----------------------------------------------------------------------===//

/// What a vendor contributes to serialisation.
struct Backend {
  llvm::StringLiteral triple;
  llvm::StringLiteral cleanup;                   ///< passes of LLVM after the common ones
  void (*initialise)();                          ///< registers LLVM's target
  void (*prepare)(mlir::ModuleOp, const Chip &); ///< marks the kernels as such
  void (*addLowering)(mlir::OpPassManager &);    ///< passes after everything is in the LLVM dialect
  void (*finish)(llvm::Module &);                ///< last touches on LLVM IR
};

/// The kernels of a module in device form, checked against the chip's limits.
mlir::FailureOr<std::vector<KernelResources>> readKernels(mlir::ModuleOp deviceForm, const Chip &chip);

/// Held shared while code is generated, which reads LLVM's command line options, and
/// alone while lld runs, which resets them.
std::shared_mutex &optionsMutex();

/// Of the first kernel: where to report what concerns the module.
mlir::Location locationOf(mlir::ModuleOp deviceForm);

mlir::FailureOr<std::unique_ptr<llvm::Module>> translateDeviceModule(mlir::ModuleOp deviceForm, const Chip &chip, const Backend &backend,
                                                                     llvm::LLVMContext &context);

/// Assembly or an object file.
mlir::FailureOr<std::string> emitDevice(mlir::ModuleOp deviceForm, const Chip &chip, const Backend &backend, llvm::CodeGenFileType type);

/// Assembly of each kernel by itself, in the module's order, generated on up to `threads`
/// threads; of the whole module where kernels call functions.
mlir::FailureOr<std::vector<std::string>> emitKernels(mlir::ModuleOp deviceForm, const Chip &chip, const Backend &backend, int64_t threads);

} // namespace fla::gpu

#endif
