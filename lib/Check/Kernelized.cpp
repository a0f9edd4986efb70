//===- Kernelized.cpp - runs tile kernels in the interpreter --------------===//
#include "Roles.h"
#include "Rungs.h"

#include "fla/Interpreter/Kernels.h"

using namespace mlir;
using namespace fla;
using namespace fla::check;
using namespace fla::interp;

static Shape shapeOf(tile::BufferType type, int64_t tokens) {
  Shape shape;
  if (type.getKind() == tile::BufferKind::token)
    shape.sizes.push_back(tokens);
  shape.sizes.append(type.getShape().begin(), type.getShape().end());
  return shape;
}

/// Calls f(role, name, type) for each argument of each kernel.
template <class F> static llvm::Error forEachArgument(ModuleOp module, F f) {
  for (tile::KernelOp kernel : module.getOps<tile::KernelOp>()) {
    auto roles = kernel->getAttrOfType<ArrayAttr>("roles");
    if (!roles || roles.size() != kernel.getArgNames().size())
      return errorAt(kernel, "expected a role for each argument");
    for (auto [i, role] : llvm::enumerate(roles.getAsRange<StringAttr>()))
      if (llvm::Error error = f(role.getValue(), kernel.getArgName(i), cast<tile::BufferType>(kernel.getBody().getArgument(i).getType())))
        return error;
  }
  return llvm::Error::success();
}

static llvm::Expected<Answer> runOn(ModuleOp module, const Problem &problem) {
  Buffers buffers;
  Launch launch;
  launch.tokens = problem.tokens;
  auto give = [&](llvm::StringRef role, llvm::StringRef name, tile::BufferType type) {
    if (auto value = givenValue(role, name, problem))
      buffers[name.str()] = {value->data, 1};
    return llvm::Error::success();
  };
  if (llvm::Error error = forEachArgument(module, give))
    return std::move(error);
  if (llvm::Error error = runKernels(module, buffers, launch))
    return std::move(error);
  Answer answer;
  auto take = [&](llvm::StringRef role, llvm::StringRef name, tile::BufferType type) -> llvm::Error {
    Tensor<double> value(shapeOf(type, problem.tokens));
    const std::vector<double> &data = buffers[name.str()].data;
    if (data.size() == value.data.size())
      value.data = data;
    collectResult(role, name, std::move(value), answer);
    return llvm::Error::success();
  };
  if (llvm::Error error = forEachArgument(module, take))
    return std::move(error);
  return answer;
}

llvm::Expected<Executor> check::kernelizedExecutor(const Subject &subject, bool backward) {
  auto module = compile(subject, Phase::Kernelize, !backward, backward);
  if (!module)
    return module.takeError();
  if ((**module)->getOps<tile::KernelOp>().empty())
    return llvm::createStringError("expected a 'tile.kernel', got none");
  return Executor([module = *module](const Problem &problem) { return runOn(**module, problem); });
}
