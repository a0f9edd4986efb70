//===- DeviceLibrary.h - a driver's shared library --------------*- C++ -*-===//
#ifndef FLA_LIB_RUNTIME_DEVICELIBRARY_H
#define FLA_LIB_RUNTIME_DEVICELIBRARY_H

#include "fla/Runtime/Device.h"

#include "llvm/ADT/ArrayRef.h"

#include <memory>

namespace fla::runtime {

/// A library opened at run time and never closed: drivers do not survive that.
class DeviceLibrary {
public:
  /// Opens the first of `names` that is there. `what` names the driver in errors
  /// and `remedy` says what to do without it.
  static llvm::Expected<DeviceLibrary> open(llvm::ArrayRef<std::string> names, llvm::StringRef what, llvm::StringRef remedy);

  /// A function that every usable driver has.
  template <typename Fn> llvm::Error need(const char *name, Fn *&function) const {
    function = reinterpret_cast<Fn *>(find(name));
    return function ? llvm::Error::success() : missing(name);
  }
  /// A function that older drivers may lack; null then.
  template <typename Fn> void want(const char *name, Fn *&function) const { function = reinterpret_cast<Fn *>(find(name)); }
  /// Of the file that has a function, links resolved: libcuda.so.570.86.15 tells more than a driver does.
  std::string fileName(const char *function) const;

private:
  void *find(const char *name) const;
  llvm::Error missing(const char *name) const;
  void *handle = nullptr;
  std::string path, what, remedy;
};

/// Each vendor's driver, opened and initialised.
llvm::Expected<std::unique_ptr<DeviceDriver>> openCudaDriver();
llvm::Expected<std::unique_ptr<DeviceDriver>> openHipDriver();

/// Text of an error: lowercase start, no final period.
llvm::Error deviceError(const llvm::Twine &text);

} // namespace fla::runtime

#endif
