//===- calls.h - calls that were seen before ------------------------------===//
#ifndef FLA_PYTHON_CALLS_H
#define FLA_PYTHON_CALLS_H

#include <pybind11/pybind11.h>

#include <memory>
#include <utility>
#include <vector>

namespace py = pybind11;

namespace {

/// Calls that were seen before, the latest first: arguments that are no tensors
/// are compared here, tensors by a check that comes with each call.
class Calls {
public:
  /// `types` of tensors; at most `most` calls are remembered.
  Calls(py::tuple types, size_t most) : types(std::move(types)), most(most) {}

  /// What was added for an equal call, and the tensors of this one; or None.
  py::object find(const py::tuple &args, const py::dict &kwargs, const py::object &setting) const {
    std::vector<PyObject *> given = valuesOf(args, kwargs);
    for (size_t i = 0; i < calls.size(); ++i) {
      std::shared_ptr<const Call> call = calls[i]; // Python may run below, and add
      if (!matches(*call, given, args.size(), kwargs, setting))
        continue;
      py::tuple tensors = tensorsOf(given);
      py::object alike = py::reinterpret_steal<py::object>(PyObject_CallObject(call->check.ptr(), tensors.ptr()));
      if (!alike)
        throw py::error_already_set();
      if (alike.ptr() == Py_True)
        return py::make_tuple(call->result, tensors);
    }
    return py::none();
  }

  /// False where an argument is neither a tensor nor of one of the `plain` types.
  bool add(const py::tuple &args, const py::dict &kwargs, const py::object &setting, const py::tuple &plain, const py::object &check,
           const py::object &result) {
    auto call = std::make_shared<Call>(Call{args.size(), {}, {}, setting, check, result});
    for (auto [name, value] : kwargs)
      call->names.push_back(py::reinterpret_borrow<py::object>(name));
    for (PyObject *value : valuesOf(args, kwargs)) {
      bool tensor = isOneOf(Py_TYPE(value), types);
      if (!tensor && !isOneOf(Py_TYPE(value), plain))
        return false;
      call->values.push_back(tensor ? py::object() : py::reinterpret_borrow<py::object>(value));
    }
    calls.insert(calls.begin(), std::move(call));
    if (calls.size() > most)
      calls.pop_back();
    return true;
  }

private:
  struct Call {
    size_t positional;
    std::vector<py::object> names;
    std::vector<py::object> values; ///< none where a tensor is
    py::object setting, check, result;
  };

  static bool isOneOf(PyTypeObject *type, const py::tuple &types) {
    for (size_t i = 0; i < types.size(); ++i)
      if (reinterpret_cast<PyObject *>(type) == PyTuple_GET_ITEM(types.ptr(), i))
        return true;
    return false;
  }

  static bool areEqual(PyObject *a, PyObject *b) {
    if (a == b)
      return true;
    int equal = PyObject_RichCompareBool(a, b, Py_EQ);
    if (equal < 0)
      throw py::error_already_set();
    return equal == 1;
  }

  static std::vector<PyObject *> valuesOf(const py::tuple &args, const py::dict &kwargs) {
    std::vector<PyObject *> values;
    values.reserve(args.size() + kwargs.size());
    for (size_t i = 0; i < args.size(); ++i)
      values.push_back(PyTuple_GET_ITEM(args.ptr(), i));
    Py_ssize_t position = 0;
    PyObject *name, *value;
    while (PyDict_Next(kwargs.ptr(), &position, &name, &value))
      values.push_back(value);
    return values;
  }

  bool matches(const Call &call, const std::vector<PyObject *> &given, size_t positional, const py::dict &kwargs, const py::object &setting) const {
    if (call.positional != positional || call.values.size() != given.size() || !areEqual(call.setting.ptr(), setting.ptr()))
      return false;
    Py_ssize_t position = 0;
    PyObject *name, *value;
    for (size_t i = 0; PyDict_Next(kwargs.ptr(), &position, &name, &value); ++i)
      if (!areEqual(call.names[i].ptr(), name))
        return false;
    for (size_t i = 0; i < given.size(); ++i) {
      PyObject *before = call.values[i].ptr();
      if (!before ? !isOneOf(Py_TYPE(given[i]), types) : Py_TYPE(before) != Py_TYPE(given[i]) || !areEqual(before, given[i]))
        return false;
    }
    return true;
  }

  py::tuple tensorsOf(const std::vector<PyObject *> &given) const {
    std::vector<PyObject *> tensors;
    for (PyObject *value : given)
      if (isOneOf(Py_TYPE(value), types))
        tensors.push_back(value);
    py::tuple result(tensors.size());
    for (size_t i = 0; i < tensors.size(); ++i)
      PyTuple_SET_ITEM(result.ptr(), i, py::reinterpret_borrow<py::object>(tensors[i]).release().ptr());
    return result;
  }

  py::tuple types;
  size_t most;
  std::vector<std::shared_ptr<const Call>> calls;
};

} // namespace

#endif
