//===- api.h - the functions of libfla, found in the library that is opened ===//
#ifndef FLA_PYTHON_API_H
#define FLA_PYTHON_API_H

#include "fla-c/fla.h"

#include <dlfcn.h>

#include <memory>
#include <stdexcept>
#include <string>

namespace {

/// The functions of fla.h, looked up in the library that open() was given.
struct Api {
  decltype(&fla_version) version;
  decltype(&fla_last_error) lastError;
  decltype(&fla_string_free) stringFree;
  decltype(&fla_phase) phase;
  decltype(&fla_compile) compile;
  decltype(&fla_program_free) programFree;
  decltype(&fla_program_manifest) manifest;
  decltype(&fla_run) run;
  decltype(&fla_run_on_device) runOnDevice;
  decltype(&fla_load_on_device) loadOnDevice;
  decltype(&fla_describe) describe;
  decltype(&fla_check) check;
  decltype(&fla_compilations) compilations;
};

Api api;
bool opened = false;

template <typename Fn> void lookUp(void *library, const char *name, Fn &function) { function = reinterpret_cast<Fn>(dlsym(library, name)); }

template <typename Fn> Fn *need(Fn *function, const char *name) {
  if (!opened)
    throw std::runtime_error("libfla is not open; call open(path) first");
  if (!function)
    throw std::runtime_error(std::string("libfla lacks the function ") + name + "; expected a library of this version");
  return function;
}

void open(const std::string &path) {
  void *library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library)
    throw std::runtime_error(dlerror());
  lookUp(library, "fla_version", api.version);
  lookUp(library, "fla_last_error", api.lastError);
  lookUp(library, "fla_string_free", api.stringFree);
  lookUp(library, "fla_phase", api.phase);
  lookUp(library, "fla_compile", api.compile);
  lookUp(library, "fla_program_free", api.programFree);
  lookUp(library, "fla_program_manifest", api.manifest);
  lookUp(library, "fla_run", api.run);
  lookUp(library, "fla_run_on_device", api.runOnDevice);
  lookUp(library, "fla_load_on_device", api.loadOnDevice);
  lookUp(library, "fla_describe", api.describe);
  lookUp(library, "fla_check", api.check);
  lookUp(library, "fla_compilations", api.compilations);
  opened = true;
  need(api.version, "fla_version");
}

[[noreturn]] void fail() {
  const char *text = api.lastError();
  throw std::runtime_error(text && *text ? text : "libfla failed without a message");
}

struct Program {
  std::shared_ptr<FlaProgram> handle;
};

} // namespace

#endif
