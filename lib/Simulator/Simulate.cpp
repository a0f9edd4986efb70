//===- Simulate.cpp - a launch --------------------------------------------===//
#include "ThreadBlock.h"

#include <atomic>
#include <numeric>
#include <thread>

using namespace fla::sim;

static Error refusal(mlir::LLVM::LLVMFuncOp kernel, const llvm::Twine &message) {
  return {ErrorKind::Unsupported, locationOf(kernel), kernel.getSymName().str(), 0, 0, message.str()};
}

/// What is wrong with a launch, before anything runs.
static std::vector<Error> check(mlir::LLVM::LLVMFuncOp kernel, const Program &program, size_t arguments, int64_t threads,
                                const SimulateOptions &options) {
  std::vector<Error> errors = program.errors;
  if (errors.empty() && program.parameters.size() != arguments)
    errors.push_back(refusal(kernel, "expected " + llvm::Twine(program.parameters.size()) + " arguments, got " + llvm::Twine(arguments)));
  if (threads < 1 || threads > 1024)
    errors.push_back(refusal(kernel, "expected 1 to 1024 threads a block, got " + llvm::Twine(threads)));
  if (options.lanes != 32 && options.lanes != 64)
    errors.push_back(refusal(kernel, "expected 32 or 64 lanes, got " + llvm::Twine(options.lanes)));
  if (options.banks == 0 || options.banks > 128)
    errors.push_back(refusal(kernel, "expected 1 to 128 banks, got " + llvm::Twine(options.banks)));
  return errors;
}

Report fla::sim::simulate(mlir::LLVM::LLVMFuncOp kernel, llvm::ArrayRef<Argument> arguments, int64_t gridBlocks, int64_t threads, int64_t sharedBytes,
                          Memory &memory, const SimulateOptions &options) {
  Program program;
  Compiler(program, options.lanes).compile(kernel);
  Report refused;
  refused.errors = check(kernel, program, arguments.size(), threads, options);
  if (!refused.ok())
    return refused;

  std::vector<int64_t> blocks = options.blocks;
  if (blocks.empty()) {
    blocks.resize(gridBlocks);
    std::iota(blocks.begin(), blocks.end(), 0);
  }
  size_t shared = program.staticShared + (program.dynamicShared ? sharedBytes : 0);
  std::atomic<size_t> next = 0;
  std::vector<Recorder> recorders(std::clamp<size_t>(options.hostThreads, 1, std::max<size_t>(blocks.size(), 1)), Recorder(program));
  auto work = [&](Recorder &recorder) {
    ThreadBlock block(program, memory, recorder, options, threads, shared, gridBlocks);
    for (size_t i = next++; i < blocks.size(); i = next++)
      block.run(blocks[i], arguments);
  };
  std::vector<std::thread> others;
  for (Recorder &recorder : llvm::drop_begin(recorders))
    others.emplace_back([&] { work(recorder); });
  work(recorders[0]);
  for (std::thread &other : others)
    other.join();
  for (const Recorder &recorder : llvm::drop_begin(recorders))
    recorders[0].merge(recorder);
  memory.launchEnds();
  return recorders[0].report();
}

static int64_t attribute(mlir::LLVM::LLVMFuncOp kernel, llvm::StringRef name, int64_t otherwise) {
  auto value = kernel->getAttrOfType<mlir::IntegerAttr>(name);
  return value ? value.getInt() : otherwise;
}

Report fla::sim::simulate(mlir::LLVM::LLVMFuncOp kernel, llvm::ArrayRef<Argument> arguments, int64_t gridBlocks, Memory &memory,
                          const SimulateOptions &options) {
  return simulate(kernel, arguments, gridBlocks, attribute(kernel, "fla.threads", 0), attribute(kernel, "fla.shared", 0), memory, options);
}
