//===- binding.cpp - Python's view of the C API ------------------*- C++
//-*-===//
//
// One thin module: strings and addresses in, strings out. libfla is opened at
// run time with local symbols, so that nothing of it (LLVM included) can clash
// with what torch, Triton or numba bring into the process.
//
//===----------------------------------------------------------------------===//
#include "fla-c/fla.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <dlfcn.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace py = pybind11;

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
  decltype(&fla_describe) describe;
  decltype(&fla_check) check;
  decltype(&fla_compilations) compilations;
};

Api api;
bool opened = false;

template <typename Fn>
void lookUp(void *library, const char *name, Fn &function) {
  function = reinterpret_cast<Fn>(dlsym(library, name));
}

template <typename Fn> Fn *need(Fn *function, const char *name) {
  if (!opened)
    throw std::runtime_error("libfla is not open; call open(path) first");
  if (!function)
    throw std::runtime_error(std::string("libfla lacks the function ") + name +
                             "; expected a library of this version");
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
  lookUp(library, "fla_describe", api.describe);
  lookUp(library, "fla_check", api.check);
  lookUp(library, "fla_compilations", api.compilations);
  opened = true;
  need(api.version, "fla_version");
}

[[noreturn]] void fail() {
  const char *text = api.lastError();
  throw std::runtime_error(text && *text ? text
                                         : "libfla failed without a message");
}

/// Calls a function of (source, options) that returns text, without the GIL.
std::string text(char *(*function)(const char *, const char *),
                 const char *name, const std::string &source,
                 const std::string &options) {
  need(function, name);
  std::unique_ptr<char, void (*)(char *)> result(nullptr, api.stringFree);
  {
    py::gil_scoped_release release;
    result.reset(function(source.c_str(), options.c_str()));
  }
  if (!result)
    fail();
  return result.get();
}

struct Program {
  std::shared_ptr<FlaProgram> handle;
};

Program compile(const std::string &source, const std::string &options) {
  need(api.compile, "fla_compile");
  FlaProgram *handle = nullptr;
  {
    py::gil_scoped_release release;
    handle = api.compile(source.c_str(), options.c_str());
  }
  if (!handle)
    fail();
  return {std::shared_ptr<FlaProgram>(handle, api.programFree)};
}

/// `tensors` holds (address, batch, token and head strides, heads) of each
/// argument in the manifest's order; `shape` batch, tokens, heads, sequences
/// and the address of cu_seqlens or 0.
void run(const Program &program, const std::vector<int64_t> &tensors,
         const std::vector<int64_t> &shape, int64_t threads) {
  if (tensors.size() % 5 != 0 || shape.size() != 5)
    throw std::invalid_argument(
        "expected 5 numbers for each tensor and 5 for the shape");
  std::vector<FlaTensor> arguments;
  arguments.reserve(tensors.size() / 5);
  for (size_t i = 0; i < tensors.size(); i += 5)
    arguments.push_back({reinterpret_cast<void *>(tensors[i]), tensors[i + 1],
                         tensors[i + 2], tensors[i + 3], tensors[i + 4]});
  FlaShape sizes{shape[0], shape[1], shape[2], shape[3],
                 reinterpret_cast<const int64_t *>(shape[4])};
  int status;
  {
    py::gil_scoped_release release;
    status = api.run(program.handle.get(), arguments.data(),
                     static_cast<int64_t>(arguments.size()), &sizes, threads);
  }
  if (status != 0)
    fail();
}

} // namespace

PYBIND11_MODULE(_fla, m) {
  m.doc() = "The C API of libfla";
  py::class_<Program>(m, "Program")
      .def_property_readonly("manifest", [](const Program &p) {
        return std::string(api.manifest(p.handle.get()));
      });
  m.def("open", &open, "Loads libfla from a path");
  m.def("version",
        [] { return std::string(need(api.version, "fla_version")()); });
  m.def("phase", [](const std::string &s, const std::string &o) {
    return text(api.phase, "fla_phase", s, o);
  });
  m.def("describe", [](const std::string &s, const std::string &o) {
    return text(api.describe, "fla_describe", s, o);
  });
  m.def("check", [](const std::string &s, const std::string &o) {
    return text(api.check, "fla_check", s, o);
  });
  m.def("compile", &compile);
  m.def("run", &run);
  m.def("compilations",
        [] { return need(api.compilations, "fla_compilations")(); });
}
