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
  decltype(&fla_run_on_device) runOnDevice;
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
  lookUp(library, "fla_run_on_device", api.runOnDevice);
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

/// Five numbers a tensor: address, batch, token and head strides, heads.
std::vector<FlaTensor> tensorsOf(const std::vector<int64_t> &flat) {
  if (flat.size() % 5 != 0)
    throw std::invalid_argument("expected 5 numbers for each tensor");
  std::vector<FlaTensor> tensors;
  tensors.reserve(flat.size() / 5);
  for (size_t i = 0; i < flat.size(); i += 5)
    tensors.push_back({reinterpret_cast<void *>(flat[i]), flat[i + 1],
                       flat[i + 2], flat[i + 3], flat[i + 4]});
  return tensors;
}

/// Batch, tokens, heads, sequences, the address of cu_seqlens or 0; and, where
/// sequences choose their states, the address of state_indices or 0 and the
/// number of states.
FlaShape shapeOf(const std::vector<int64_t> &sizes) {
  if (sizes.size() != 5 && sizes.size() != 7)
    throw std::invalid_argument("expected 5 or 7 numbers for the shape");
  FlaShape shape{};
  shape.batch = sizes[0], shape.tokens = sizes[1], shape.heads = sizes[2];
  shape.num_sequences = sizes[3];
  shape.cu_seqlens = reinterpret_cast<const int64_t *>(sizes[4]);
  if (sizes.size() == 7) {
    shape.state_indices = reinterpret_cast<const int64_t *>(sizes[5]);
    shape.num_states = sizes[6];
  }
  return shape;
}

/// Tensors in the manifest's order, see tensorsOf and shapeOf.
void run(const Program &program, const std::vector<int64_t> &flat,
         const std::vector<int64_t> &shape, int64_t threads) {
  std::vector<FlaTensor> tensors = tensorsOf(flat);
  FlaShape sizes = shapeOf(shape);
  int status;
  {
    py::gil_scoped_release release;
    status = api.run(program.handle.get(), tensors.data(),
                     static_cast<int64_t>(tensors.size()), &sizes, threads);
  }
  if (status != 0)
    fail();
}

/// Launches of a GPU program that differ in nothing but addresses and stream.
class Launcher {
public:
  Launcher(const Program &program, const std::vector<int64_t> &flat,
           const std::vector<int64_t> &shape, int64_t device)
      : program(program), tensors(tensorsOf(flat)), sizes(shapeOf(shape)),
        device(device) {
    need(api.runOnDevice, "fla_run_on_device");
  }

  /// `addresses` in the manifest's order, 0 for absent ones. Copies what it
  /// changes, so that threads can share a launcher.
  void launch(const py::list &addresses, int64_t offsets, int64_t stream,
              int64_t indices) const {
    if (addresses.size() != tensors.size())
      throw std::invalid_argument("expected an address for each tensor");
    std::vector<FlaTensor> now = tensors;
    for (size_t i = 0; i < now.size(); ++i)
      now[i].data = PyLong_AsVoidPtr(PyList_GET_ITEM(addresses.ptr(), i));
    if (PyErr_Occurred())
      throw py::error_already_set();
    FlaShape shape = sizes;
    shape.cu_seqlens = reinterpret_cast<const int64_t *>(offsets);
    shape.state_indices = reinterpret_cast<const int64_t *>(indices);
    int status;
    {
      py::gil_scoped_release release;
      status = api.runOnDevice(program.handle.get(), now.data(),
                               static_cast<int64_t>(now.size()), &shape,
                               device, reinterpret_cast<void *>(stream));
    }
    if (status != 0)
      fail();
  }

private:
  Program program;
  std::vector<FlaTensor> tensors;
  FlaShape sizes;
  int64_t device;
};

} // namespace

PYBIND11_MODULE(_fla, m) {
  m.doc() = "The C API of libfla";
  py::class_<Program>(m, "Program")
      .def_property_readonly("manifest", [](const Program &p) {
        return std::string(api.manifest(p.handle.get()));
      });
  py::class_<Launcher>(m, "Launcher")
      .def(py::init<const Program &, const std::vector<int64_t> &,
                    const std::vector<int64_t> &, int64_t>())
      .def("launch", &Launcher::launch, py::arg("addresses"),
           py::arg("offsets"), py::arg("stream"), py::arg("indices") = 0);
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
