//===- DeviceLibrary.cpp - a driver's shared library ----------------------===//
#include "DeviceLibrary.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

#include <dlfcn.h>

namespace fla::runtime {

llvm::Error deviceError(const llvm::Twine &text) { return llvm::createStringError(text); }

llvm::Expected<DeviceLibrary> DeviceLibrary::open(llvm::ArrayRef<std::string> names, llvm::StringRef what, llvm::StringRef remedy) {
  DeviceLibrary library;
  library.what = what.str();
  library.remedy = remedy.str();
  std::string problem;
  for (const std::string &name : names) {
    library.handle = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    library.path = name;
    if (library.handle)
      return library;
    const char *reason = dlerror();
    problem += (problem.empty() ? "" : "; ") + std::string(reason ? reason : name);
  }
  return deviceError("expected " + what + ", got: " + problem + "; " + remedy);
}

void *DeviceLibrary::find(const char *name) const { return dlsym(handle, name); }

std::string DeviceLibrary::fileName(const char *function) const {
  Dl_info info;
  llvm::SmallString<128> real;
  if (dladdr(find(function), &info) == 0 || llvm::sys::fs::real_path(info.dli_fname, real))
    return "";
  return llvm::sys::path::filename(real).str();
}

llvm::Error DeviceLibrary::missing(const char *name) const {
  return deviceError("expected the function " + llvm::Twine(name) + " in " + what + " (" + path + "), which lacks it; " + remedy);
}

} // namespace fla::runtime
