//===- Tensor.h - dense tensors with named axes -----------------*- C++ -*-===//
//
// What interpreters pass around: row-major values with one name an axis. An
// axis is found by its name and never by its position; tiles, whose axes have
// no names, use the positional functions at the end.
//
//   contract(S{K,V}, q{K}, {V})            S^T q
//   contract(q{tokens,K}, S{K,V}, {tokens,V})   the same for every token
//
//===----------------------------------------------------------------------===//
#ifndef FLA_INTERPRETER_TENSOR_H
#define FLA_INTERPRETER_TENSOR_H

#include "fla/Interpreter/Scalar.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"

namespace fla::interp {

/// Names and sizes of axes, outermost first. Names belong to the context of the
/// IR (or are literals); they are absent for tiles.
struct Shape {
  llvm::SmallVector<llvm::StringRef, 4> names;
  llvm::SmallVector<int64_t, 4> sizes;

  size_t rank() const { return sizes.size(); }
  int64_t count() const {
    int64_t product = 1;
    for (int64_t size : sizes)
      product *= size;
    return product;
  }
  /// Position of a name, or -1.
  int64_t find(llvm::StringRef name) const {
    auto it = llvm::find(names, name);
    return it == names.end() ? -1 : it - names.begin();
  }
  /// Elements between neighbours along each axis.
  llvm::SmallVector<int64_t, 4> strides() const {
    llvm::SmallVector<int64_t, 4> result(rank(), 1);
    for (int64_t i = static_cast<int64_t>(rank()) - 2; i >= 0; --i)
      result[i] = result[i + 1] * sizes[i + 1];
    return result;
  }
  void append(llvm::StringRef name, int64_t size) {
    names.push_back(name);
    sizes.push_back(size);
  }
  /// Without the first axis.
  Shape inner() const {
    Shape result;
    result.sizes.assign(llvm::drop_begin(sizes).begin(), sizes.end());
    if (!names.empty())
      result.names.assign(llvm::drop_begin(names).begin(), names.end());
    return result;
  }
  /// Under one more axis.
  Shape outer(llvm::StringRef name, int64_t size) const {
    Shape result = *this;
    result.sizes.insert(result.sizes.begin(), size);
    if (!names.empty() || sizes.empty())
      result.names.insert(result.names.begin(), name);
    return result;
  }
  bool operator==(const Shape &other) const { return sizes == other.sizes && names == other.names; }
};

template <class S> struct Tensor {
  Shape shape;
  std::vector<S> data;

  Tensor() = default;
  explicit Tensor(Shape shape, S fill = S(0.0)) : shape(std::move(shape)) {
    data.assign(this->shape.count(), fill);
  }
  static Tensor scalar(S value) { return Tensor(Shape(), value); }

  int64_t size() const { return data.size(); }
  S &operator[](int64_t i) { return data[i]; }
  const S &operator[](int64_t i) const { return data[i]; }
  /// Elements of one row of the first axis.
  int64_t rowSize() const { return shape.rank() == 0 ? 1 : shape.inner().count(); }
  /// Row `i` of the first axis.
  Tensor row(int64_t i) const {
    Tensor result(shape.inner());
    std::copy_n(data.begin() + i * result.size(), result.size(), result.data.begin());
    return result;
  }
  void setRow(int64_t i, const Tensor &value) {
    std::copy(value.data.begin(), value.data.end(), data.begin() + i * value.size());
  }
};

//===----------------------------------------------------------------------===//
// By name
//===----------------------------------------------------------------------===//

/// Steps through an index space and keeps the offset into several tensors.
class Odometer {
public:
  /// Walks the axes of `space`; an operand without an axis stands still on it.
  Odometer(const Shape &space, llvm::ArrayRef<Shape> operands) : sizes(space.sizes), index(space.rank(), 0), offsets(operands.size(), 0) {
    for (const Shape &operand : operands) {
      llvm::SmallVector<int64_t, 4> own = operand.strides(), aligned;
      for (llvm::StringRef name : space.names)
        aligned.push_back(operand.find(name) < 0 ? 0 : own[operand.find(name)]);
      strides.push_back(aligned);
    }
  }
  int64_t operator[](size_t operand) const { return offsets[operand]; }
  void next() {
    for (int64_t axis = static_cast<int64_t>(sizes.size()) - 1; axis >= 0; --axis) {
      bool wraps = ++index[axis] == sizes[axis];
      int64_t steps = wraps ? 1 - sizes[axis] : 1;
      for (size_t i = 0; i < offsets.size(); ++i)
        offsets[i] += steps * strides[i][axis];
      if (!wraps)
        return;
      index[axis] = 0;
    }
  }

private:
  llvm::SmallVector<int64_t, 4> sizes, index, offsets;
  llvm::SmallVector<llvm::SmallVector<int64_t, 4>, 3> strides;
};

/// The axes of `shape`, then those of `more` that it lacks.
inline Shape unite(Shape shape, const Shape &more) {
  for (auto [name, size] : llvm::zip(more.names, more.sizes))
    if (shape.find(name) < 0)
      shape.append(name, size);
  return shape;
}

/// sum of a*b over what `result` does not name.
template <class S> Tensor<S> contract(const Tensor<S> &a, const Tensor<S> &b, const Shape &result) {
  Tensor<S> sum(result);
  Shape space = unite(unite(result, a.shape), b.shape);
  Odometer at(space, {result, a.shape, b.shape});
  for (int64_t i = 0, n = space.count(); i < n; ++i, at.next())
    sum[at[0]] += a[at[1]] * b[at[2]];
  return sum;
}

/// Repeats a value along the axes that it lacks.
template <class S> Tensor<S> broadcast(const Tensor<S> &value, const Shape &result) {
  Tensor<S> repeated(result);
  Odometer at(result, {value.shape});
  for (int64_t i = 0, n = repeated.size(); i < n; ++i, at.next())
    repeated[i] = value[at[0]];
  return repeated;
}

/// Folds f over every axis that the result lacks.
template <class S> Tensor<S> reduce(Binary f, S start, const Tensor<S> &value, const Shape &result) {
  Tensor<S> folded(result, start);
  Odometer at(value.shape, {result});
  for (int64_t i = 0, n = value.size(); i < n; ++i, at.next())
    folded[at[0]] = apply(f, folded[at[0]], value[i]);
  return folded;
}

//===----------------------------------------------------------------------===//
// Element by element
//===----------------------------------------------------------------------===//

template <class S, class F> Tensor<S> map(const Tensor<S> &a, F f) {
  Tensor<S> result(a.shape);
  for (int64_t i = 0; i < a.size(); ++i)
    result[i] = f(a[i]);
  return result;
}

/// Both operands have the same shape.
template <class S, class F> Tensor<S> zip(const Tensor<S> &a, const Tensor<S> &b, F f) {
  Tensor<S> result(a.shape);
  for (int64_t i = 0; i < a.size(); ++i)
    result[i] = f(a[i], b[i]);
  return result;
}

template <class S> Tensor<S> apply(Unary f, const Tensor<S> &a) {
  return map(a, [f](S x) { return apply(f, x); });
}
template <class S> Tensor<S> apply(Binary f, const Tensor<S> &a, const Tensor<S> &b) {
  return zip(a, b, [f](S x, S y) { return apply(f, x, y); });
}
template <class S> Tensor<S> operator+(const Tensor<S> &a, const Tensor<S> &b) { return apply(Binary::Add, a, b); }
template <class S> Tensor<S> operator*(const Tensor<S> &a, const Tensor<S> &b) { return apply(Binary::Mul, a, b); }
template <class S> Tensor<S> exponential(const Tensor<S> &a) { return apply(Unary::Exp, a); }

/// The same numbers under another shape of as many elements.
template <class S> Tensor<S> reshape(Tensor<S> value, const Shape &shape) {
  value.shape = shape;
  return value;
}

} // namespace fla::interp

#endif
