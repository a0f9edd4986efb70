//===- Loader.h - object code in memory that can be called ------*- C++ -*-===//
#ifndef FLA_RUNTIME_LOADER_H
#define FLA_RUNTIME_LOADER_H

#include "fla/Runtime/Kernel.h"

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <memory>

namespace fla::runtime {

/// An object file linked into this process; its code lives as long as this.
/// Symbols it lacks are looked up in the process (libm, memcpy).
class LoadedObject {
public:
  static llvm::Expected<std::unique_ptr<LoadedObject>> load(llvm::StringRef object);
  ~LoadedObject();
  llvm::Expected<KernelFn> lookup(llvm::StringRef name) const;

private:
  struct State;
  explicit LoadedObject(std::unique_ptr<State> state);
  std::unique_ptr<State> state;
};

} // namespace fla::runtime

#endif
