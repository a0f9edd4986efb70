//===- binding.cpp - Python's view of the C API ---------------------------===//
//
// One thin module: strings and addresses in, strings out. libfla is opened at
// run time with local symbols, so that nothing of it (LLVM included) can clash
// with what torch, Triton or numba bring into the process.
//
//===----------------------------------------------------------------------===//
#include "api.h"
#include "calls.h"
#include "launcher.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

namespace {

/// Calls a function of (source, options) that returns text, without the GIL.
std::string text(char *(*function)(const char *, const char *), const char *name, const std::string &source, const std::string &options) {
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

/// Waits for the driver's compiler without the GIL.
void load(const Program &program, int64_t device) {
  need(api.loadOnDevice, "fla_load_on_device");
  int status;
  {
    py::gil_scoped_release release;
    status = api.loadOnDevice(program.handle.get(), device);
  }
  if (status != 0)
    fail();
}

/// Tensors in the manifest's order, see tensorsOf and shapeOf.
void run(const Program &program, const std::vector<int64_t> &flat, const std::vector<int64_t> &shape, int64_t threads) {
  std::vector<FlaTensor> tensors = tensorsOf(flat);
  FlaShape sizes = shapeOf(shape);
  int status;
  {
    py::gil_scoped_release release;
    status = api.run(program.handle.get(), tensors.data(), static_cast<int64_t>(tensors.size()), &sizes, threads);
  }
  if (status != 0)
    fail();
}

} // namespace

PYBIND11_MODULE(_fla, m) {
  m.doc() = "The C API of libfla";
  py::class_<Program>(m, "Program")
      .def_property_readonly("manifest", [](const Program &p) { return std::string(api.manifest(p.handle.get())); })
      .def("load", &load, "Loads the program onto a GPU", py::arg("device"));
  py::class_<Launcher>(m, "Launcher")
      .def(py::init<const Program &, const std::vector<int64_t> &, const std::vector<int64_t> &, int64_t>())
      .def("launch", &Launcher::launch, py::arg("addresses"), py::arg("offsets"), py::arg("stream"), py::arg("indices") = 0);
  py::class_<Prepared>(m, "Prepared")
      .def(py::init<const Launcher &, std::vector<Prepared::Source>, std::vector<size_t>, std::vector<Prepared::Made>, std::vector<size_t>>())
      .def("launch", &Prepared::launch);
  py::class_<Calls>(m, "Calls").def(py::init<py::tuple, size_t>()).def("find", &Calls::find).def("add", &Calls::add);
  m.def("open", &open, "Loads libfla from a path");
  m.def("version", [] { return std::string(need(api.version, "fla_version")()); });
  m.def("phase", [](const std::string &s, const std::string &o) { return text(api.phase, "fla_phase", s, o); });
  m.def("describe", [](const std::string &s, const std::string &o) { return text(api.describe, "fla_describe", s, o); });
  m.def("check", [](const std::string &s, const std::string &o) { return text(api.check, "fla_check", s, o); });
  m.def("compile", &compile);
  m.def("run", &run);
  m.def("compilations", [] { return need(api.compilations, "fla_compilations")(); });
}
