//===- launcher.h - launches that differ in addresses alone ---------------===//
#ifndef FLA_PYTHON_LAUNCHER_H
#define FLA_PYTHON_LAUNCHER_H

#include "api.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <stdexcept>
#include <tuple>
#include <utility>
#include <vector>

namespace py = pybind11;

namespace {

/// Five numbers a tensor: address, batch, token and head strides, heads.
std::vector<FlaTensor> tensorsOf(const std::vector<int64_t> &flat) {
  if (flat.size() % 5 != 0)
    throw std::invalid_argument("expected 5 numbers for each tensor");
  std::vector<FlaTensor> tensors;
  tensors.reserve(flat.size() / 5);
  for (size_t i = 0; i < flat.size(); i += 5)
    tensors.push_back({reinterpret_cast<void *>(flat[i]), flat[i + 1], flat[i + 2], flat[i + 3], flat[i + 4]});
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

/// Launches of a GPU program that differ in nothing but addresses and stream.
class Launcher {
public:
  Launcher(const Program &program, const std::vector<int64_t> &flat, const std::vector<int64_t> &shape, int64_t device)
      : program(program), tensors(tensorsOf(flat)), sizes(shapeOf(shape)), device(device) {
    need(api.runOnDevice, "fla_run_on_device");
  }

  /// The tensors, for a launch to put its addresses into; threads share a
  /// launcher.
  std::vector<FlaTensor> rows() const { return tensors; }

  /// `addresses` in the manifest's order, 0 for absent ones.
  void launch(const py::list &addresses, int64_t offsets, int64_t stream, int64_t indices) const {
    if (addresses.size() != tensors.size())
      throw std::invalid_argument("expected an address for each tensor");
    std::vector<FlaTensor> now = rows();
    for (size_t i = 0; i < now.size(); ++i)
      now[i].data = addressOf(PyList_GET_ITEM(addresses.ptr(), i));
    start(now, offsets, stream, indices);
  }

  static void *addressOf(PyObject *number) {
    void *address = PyLong_AsVoidPtr(number);
    if (!address && PyErr_Occurred())
      throw py::error_already_set();
    return address;
  }

  void start(const std::vector<FlaTensor> &now, int64_t offsets, int64_t stream, int64_t indices) const {
    FlaShape shape = sizes;
    shape.cu_seqlens = reinterpret_cast<const int64_t *>(offsets);
    shape.state_indices = reinterpret_cast<const int64_t *>(indices);
    int status;
    {
      py::gil_scoped_release release;
      status = api.runOnDevice(program.handle.get(), now.data(), static_cast<int64_t>(now.size()), &shape, device, reinterpret_cast<void *>(stream));
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

/// A launch that finds its addresses itself: those of the call's tensors, and of
/// tensors that it has made, each of which may hold several rows.
class Prepared {
public:
  using Source = std::tuple<size_t, size_t, int64_t>; // row, tensor, byte
  using Part = std::tuple<size_t, int64_t>;           // row, byte
  using Made = std::tuple<py::object, py::tuple, std::vector<Part>>;

  /// `kept`: what a launch returns of the tensors that it made.
  Prepared(const Launcher &launcher, std::vector<Source> sources, std::vector<size_t> values, std::vector<Made> made, std::vector<size_t> kept)
      : launcher(launcher), sources(std::move(sources)), values(std::move(values)), made(std::move(made)), kept(std::move(kept)) {
    size_t rows = launcher.rows().size();
    auto check = [](size_t index, size_t size) {
      if (index >= size)
        throw std::invalid_argument("expected rows of the program");
    };
    for (const auto &[row, tensor, byte] : this->sources)
      check(row, rows), last = std::max(last, tensor);
    for (size_t row : this->values)
      check(row, rows);
    for (const auto &[make, arguments, parts] : this->made)
      for (const auto &[row, byte] : parts)
        check(row, rows);
    for (size_t index : this->kept)
      check(index, this->made.size());
  }

  /// `tensors` of the call (a list or tuple); `numbers`: addresses of the
  /// run-time values.
  py::tuple launch(const py::object &tensors, const py::tuple &numbers, int64_t offsets, int64_t stream, int64_t indices) const {
    PyObject *given = tensors.ptr();
    if (!PyList_Check(given) && !PyTuple_Check(given))
      throw std::invalid_argument("expected a list or tuple of tensors");
    if (!sources.empty() && last >= static_cast<size_t>(PySequence_Fast_GET_SIZE(given)))
      throw std::invalid_argument("expected the tensors of the call");
    if (numbers.size() != values.size())
      throw std::invalid_argument("expected an address for each value");
    std::vector<FlaTensor> now = launcher.rows();
    for (const auto &[row, tensor, byte] : sources)
      now[row].data = dataOf(PySequence_Fast_GET_ITEM(given, tensor)) + byte;
    for (size_t i = 0; i < values.size(); ++i)
      now[values[i]].data = Launcher::addressOf(PyTuple_GET_ITEM(numbers.ptr(), i));
    std::vector<py::object> fresh; // until the launch, at least
    fresh.reserve(made.size());
    for (const auto &[make, arguments, parts] : made) {
      fresh.push_back(py::reinterpret_steal<py::object>(PyObject_CallObject(make.ptr(), arguments.ptr())));
      if (!fresh.back())
        throw py::error_already_set();
      char *data = dataOf(fresh.back().ptr());
      for (const auto &[row, byte] : parts)
        now[row].data = data + byte;
    }
    launcher.start(now, offsets, stream, indices);
    py::tuple results(kept.size());
    for (size_t i = 0; i < kept.size(); ++i)
      PyTuple_SET_ITEM(results.ptr(), i, py::object(fresh[kept[i]]).release().ptr());
    return results;
  }

private:
  static char *dataOf(PyObject *tensor) {
    static PyObject *name = PyUnicode_InternFromString("data_ptr");
    py::object address = py::reinterpret_steal<py::object>(PyObject_CallMethodNoArgs(tensor, name));
    if (!address)
      throw py::error_already_set();
    return static_cast<char *>(Launcher::addressOf(address.ptr()));
  }

  Launcher launcher;
  std::vector<Source> sources;
  size_t last = 0; ///< of the tensors that are read
  std::vector<size_t> values;
  std::vector<Made> made;
  std::vector<size_t> kept;
};

} // namespace

#endif
