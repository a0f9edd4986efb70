//===- TileRunner.h - runs tile kernels given as text -----------*- C++ -*-===//
//
// Compiles a module, launches its kernels on arrays of doubles (converted to
// each buffer's type and back), for tests and measurements.
//
//===----------------------------------------------------------------------===//
#ifndef FLA_UNITTESTS_RUNTIME_TILERUNNER_H
#define FLA_UNITTESTS_RUNTIME_TILERUNNER_H

#include "fla/Dialect/Tile/IR/Tile.h"
#include "fla/Runtime/Launch.h"
#include "fla/Runtime/Loader.h"
#include "fla/Target/CPU/CPU.h"

#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"

#include <chrono>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

namespace fla::testing {

inline double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Aborts the test program: these tests have nothing to clean up.
[[noreturn]] inline void fail(const std::string &what) {
  std::fprintf(stderr, "FAIL: %s\n", what.c_str());
  std::exit(1);
}

/// A compiled module, ready to launch.
class TileRunner {
public:
  explicit TileRunner(const std::string &text) {
    double start = now();
    static mlir::MLIRContext *context = makeContext();
    auto module = mlir::parseSourceString<mlir::ModuleOp>(text, context);
    if (!module)
      fail("cannot parse\n" + text);
    double parsed = now();
    auto code = fla::cpu::compileToObject(*module);
    if (failed(code))
      fail("cannot compile\n" + text);
    compileSeconds = now() - parsed;
    parseSeconds = parsed - start;
    infos = code->kernels;
    auto loaded = runtime::LoadedObject::load(code->object);
    if (!loaded)
      fail(llvm::toString(loaded.takeError()));
    object = std::move(*loaded);
  }
  runtime::Kernel kernel(size_t i = 0) {
    const cpu::KernelInfo &info = infos.at(i);
    auto function = object->lookup(info.name);
    if (!function)
      fail(llvm::toString(function.takeError()));
    return {*function, info.chunk, info.blocks, info.overChunks, info.workspaceBytes};
  }
  double compileSeconds = 0, parseSeconds = 0;
  std::vector<cpu::KernelInfo> infos;

private:
  static mlir::MLIRContext *makeContext() {
    mlir::DialectRegistry registry;
    registry.insert<fla::tile::TileDialect, fla::FLADialect, mlir::arith::ArithDialect, mlir::math::MathDialect, mlir::scf::SCFDialect,
                    mlir::tensor::TensorDialect, mlir::LLVM::LLVMDialect>();
    auto *context = new mlir::MLIRContext(registry, mlir::MLIRContext::Threading::DISABLED);
    context->loadAllAvailableDialects();
    return context;
  }
  std::unique_ptr<runtime::LoadedObject> object;
};

} // namespace fla::testing

#endif
