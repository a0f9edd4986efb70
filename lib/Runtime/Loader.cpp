//===- Loader.cpp - object code in memory that can be called --------------===//
#include "fla/Runtime/Loader.h"

#include "llvm/ExecutionEngine/Orc/ExecutionUtils.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"
#include "llvm/Support/TargetSelect.h"

#include <cmath>
#include <mutex>

namespace fla::runtime {

struct LoadedObject::State {
  std::unique_ptr<llvm::orc::LLJIT> jit;
};

LoadedObject::LoadedObject(std::unique_ptr<State> state) : state(std::move(state)) {}
LoadedObject::~LoadedObject() = default;

/// libm may be absent from the process's global scope (a host program that does
/// not link it), so its functions are named here.
static llvm::orc::SymbolMap mathSymbols(llvm::orc::LLJIT &jit) {
  llvm::orc::SymbolMap symbols;
  auto one = [&](const char *name, double (*f)(double)) {
    symbols[jit.mangleAndIntern(name)] = {llvm::orc::ExecutorAddr::fromPtr(f), llvm::JITSymbolFlags::Exported};
  };
  auto oneFloat = [&](const char *name, float (*f)(float)) {
    symbols[jit.mangleAndIntern(name)] = {llvm::orc::ExecutorAddr::fromPtr(f), llvm::JITSymbolFlags::Exported};
  };
#define FLA_MATH(name) one(#name, ::name), oneFloat(#name "f", ::name##f)
  FLA_MATH(acos), FLA_MATH(acosh), FLA_MATH(asin), FLA_MATH(asinh), FLA_MATH(atan), FLA_MATH(atanh), FLA_MATH(cbrt), FLA_MATH(ceil);
  FLA_MATH(cos), FLA_MATH(cosh), FLA_MATH(erf), FLA_MATH(erfc), FLA_MATH(exp), FLA_MATH(exp2), FLA_MATH(expm1), FLA_MATH(floor);
  FLA_MATH(log), FLA_MATH(log10), FLA_MATH(log1p), FLA_MATH(log2), FLA_MATH(rint), FLA_MATH(round), FLA_MATH(roundeven);
  FLA_MATH(sin), FLA_MATH(sinh), FLA_MATH(sqrt), FLA_MATH(tan), FLA_MATH(tanh), FLA_MATH(trunc);
#undef FLA_MATH
  auto two = [&](const char *name, auto f) {
    symbols[jit.mangleAndIntern(name)] = {llvm::orc::ExecutorAddr::fromPtr(f), llvm::JITSymbolFlags::Exported};
  };
  two("pow", static_cast<double (*)(double, double)>(::pow)), two("powf", static_cast<float (*)(float, float)>(::powf));
  two("atan2", static_cast<double (*)(double, double)>(::atan2)), two("atan2f", static_cast<float (*)(float, float)>(::atan2f));
  two("fmod", static_cast<double (*)(double, double)>(::fmod)), two("fmodf", static_cast<float (*)(float, float)>(::fmodf));
  two("fma", static_cast<double (*)(double, double, double)>(::fma)), two("fmaf", static_cast<float (*)(float, float, float)>(::fmaf));
  return symbols;
}

llvm::Expected<std::unique_ptr<LoadedObject>> LoadedObject::load(llvm::StringRef object) {
  static std::once_flag once;
  std::call_once(once, [] {
    llvm::InitializeNativeTarget();
    llvm::InitializeNativeTargetAsmPrinter();
  });
  auto jit = llvm::orc::LLJITBuilder().create();
  if (!jit)
    return jit.takeError();
  llvm::orc::JITDylib &library = (*jit)->getMainJITDylib();
  if (llvm::Error error = library.define(llvm::orc::absoluteSymbols(mathSymbols(**jit))))
    return std::move(error);
  auto process = llvm::orc::DynamicLibrarySearchGenerator::GetForCurrentProcess((*jit)->getDataLayout().getGlobalPrefix());
  if (!process)
    return process.takeError();
  library.addGenerator(std::move(*process));
  if (llvm::Error error = (*jit)->addObjectFile(llvm::MemoryBuffer::getMemBufferCopy(object, "fla")))
    return std::move(error);
  auto state = std::make_unique<State>();
  state->jit = std::move(*jit);
  return std::unique_ptr<LoadedObject>(new LoadedObject(std::move(state)));
}

llvm::Expected<KernelFn> LoadedObject::lookup(llvm::StringRef name) const {
  auto address = state->jit->lookup(name);
  if (!address)
    return address.takeError();
  return address->toPtr<KernelFn>();
}

} // namespace fla::runtime
