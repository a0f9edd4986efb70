//===- ConvertTileToLLVM.cpp - kernels to functions -----------------------===//
//
// First loops over vectors in scf, arith, math and raw memory, then those to
// the LLVM dialect by MLIR's own patterns.
//
//===----------------------------------------------------------------------===//
#include "Lowering.h"
#include "fla/Target/CPU/CPU.h"

#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/LLVMCommon/ConversionTarget.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Conversion/MathToLLVM/MathToLLVM.h"
#include "mlir/Conversion/MathToLibm/MathToLibm.h"
#include "mlir/Conversion/SCFToControlFlow/SCFToControlFlow.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

namespace fla {
#define GEN_PASS_DEF_CONVERTTILETOLLVM
#include "fla/Target/CPU/Passes.h.inc"
} // namespace fla

namespace fla::cpu {

static LogicalResult lowerKernel(tile::KernelOp kernel, Functions &functions, int64_t vectorBytes) {
  OpBuilder b(kernel);
  auto ptr = LLVM::LLVMPointerType::get(b.getContext());
  auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(b.getContext()), {ptr, ptr, ptr});
  auto function = LLVM::LLVMFuncOp::create(b, kernel.getLoc(), kernel.getSymName(), type);
  Lowering lowering(kernel, function, functions, b, vectorBytes);
  if (failed(lowering.run()))
    return failure();
  function->setAttr("fla.workspace", b.getI64IntegerAttr(lowering.workspaceBytes()));
  function->setAttr("fla.chunk", kernel.getChunkAttr());
  function->setAttr("fla.blocks", kernel.getBlocksAttr());
  if (kernel.getOverChunks())
    function->setAttr("fla.over_chunks", b.getUnitAttr());
  return success();
}

/// Calls of libm that MLIR declares as func.func become calls of LLVM functions.
static void convertDeclarations(ModuleOp module) {
  module.walk([](func::CallOp call) {
    OpBuilder b(call);
    auto made = LLVM::CallOp::create(b, call.getLoc(), call.getResultTypes(), call.getCallee(), call.getOperands());
    call.replaceAllUsesWith(made->getResults());
    call.erase();
  });
  for (auto function : llvm::make_early_inc_range(module.getOps<func::FuncOp>())) {
    OpBuilder b(function);
    auto from = function.getFunctionType();
    Type result = from.getNumResults() ? from.getResult(0) : LLVM::LLVMVoidType::get(b.getContext());
    auto made = LLVM::LLVMFuncOp::create(b, function.getLoc(), function.getName(), LLVM::LLVMFunctionType::get(result, from.getInputs()));
    made.setMemoryEffectsAttr(LLVM::MemoryEffectsAttr::get(b.getContext(), {LLVM::ModRefInfo::NoModRef, LLVM::ModRefInfo::NoModRef,
                                                                            LLVM::ModRefInfo::NoModRef, LLVM::ModRefInfo::NoModRef,
                                                                            LLVM::ModRefInfo::NoModRef, LLVM::ModRefInfo::NoModRef}));
    function.erase();
  }
}

static LogicalResult lowerToLLVM(ModuleOp module) {
  MLIRContext *context = module.getContext();
  LLVMConversionTarget target(*context);
  target.addLegalOp<ModuleOp>();
  target.addLegalDialect<func::FuncDialect>();
  target.addIllegalDialect<scf::SCFDialect, arith::ArithDialect, math::MathDialect, cf::ControlFlowDialect>();
  LowerToLLVMOptions options(context);
  LLVMTypeConverter converter(context, options);
  RewritePatternSet patterns(context);
  populateSCFToControlFlowConversionPatterns(patterns);
  cf::populateControlFlowToLLVMConversionPatterns(converter, patterns);
  arith::populateArithToLLVMConversionPatterns(converter, patterns);
  arith::populateCeilFloorDivExpandOpsPatterns(patterns);
  populateMathToLLVMConversionPatterns(converter, patterns, /*approximateLog1p=*/false, /*benefit=*/2);
  // What LLVM has no intrinsic for goes to libm, one lane at a time.
  populateMathToLibmConversionPatterns(patterns);
  if (failed(applyPartialConversion(module, target, std::move(patterns))))
    return failure();
  convertDeclarations(module);
  return success();
}

namespace {
struct ConvertTileToLLVM : impl::ConvertTileToLLVMBase<ConvertTileToLLVM> {
  using ConvertTileToLLVMBase::ConvertTileToLLVMBase;

  void getDependentDialects(DialectRegistry &registry) const override {
    ConvertTileToLLVMBase::getDependentDialects(registry);
    registry.insert<vector::VectorDialect, func::FuncDialect>();
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    Functions functions(module);
    int64_t bytes = vectorBytes ? vectorBytes : hostVectorBytes();
    for (auto kernel : llvm::make_early_inc_range(module.getOps<tile::KernelOp>())) {
      if (failed(lowerKernel(kernel, functions, bytes)))
        return signalPassFailure();
      kernel.erase();
    }
    if (failed(lowerToLLVM(module)))
      signalPassFailure();
  }
};
} // namespace

} // namespace fla::cpu
