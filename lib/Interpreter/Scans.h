//===- Scans.h - elementwise recurrences and running sums -------*- C++ -*-===//
//
// Shared by `fla.scan`, `chunk.scan` and `tile.scan`, and by their reverse
// modes. The tokens are the first axis.
//
//===----------------------------------------------------------------------===//
#ifndef FLA_LIB_INTERPRETER_SCANS_H
#define FLA_LIB_INTERPRETER_SCANS_H

#include "fla/Dialect/FLA/IR/FLA.h"
#include "fla/Interpreter/Tensor.h"
#include <limits>

namespace fla::interp {

/// One token of an elementwise state.
template <class S> S advance(ScanKind kind, S state, S decay, S input) {
  switch (kind) {
  case ScanKind::linear: return decay * state + input;
  case ScanKind::log: return apply(Binary::LogAddExp, state + decay, input);
  case ScanKind::max: return apply(Binary::Max, state + decay, input);
  }
  return state;
}

template <class S>
Tensor<S> advance(ScanKind kind, const Tensor<S> &state, const Tensor<S> &decay, const Tensor<S> &input) {
  Tensor<S> next(state.shape);
  for (int64_t i = 0; i < next.size(); ++i)
    next[i] = advance<S>(kind, state[i], decay[i], input[i]);
  return next;
}

template <class S> struct ScanResult {
  Tensor<S> prev, next, last;
};

template <class S>
ScanResult<S> scan(ScanKind kind, const Tensor<S> &initial, const Tensor<S> &decay, const Tensor<S> &input) {
  ScanResult<S> result{decay, decay, initial};
  int64_t tokens = decay.shape.sizes.empty() ? 0 : decay.shape.sizes[0];
  for (int64_t t = 0; t < tokens; ++t) {
    result.prev.setRow(t, result.last);
    for (int64_t i = 0, n = initial.size(); i < n; ++i)
      result.last[i] = advance<S>(kind, result.last[i], decay[t * n + i], input[t * n + i]);
    result.next.setRow(t, result.last);
  }
  return result;
}

/// What a scan saved and the gradients of its results.
template <class S> struct ScanGradInput {
  const Tensor<S> &decay, &input, &prev, &next, &dPrev, &dNext, &dLast;
};
template <class S> struct ScanGrad {
  Tensor<S> initial, decay, input;
};

/// One element of the reverse scan: D is the gradient of the state after the
/// token; returns what passes to the state before it.
template <class S>
S retreat(ScanKind kind, S d, S decay, S input, S prev, S next, S &dDecay, S &dInput) {
  if (kind == ScanKind::linear) {
    dDecay = d * prev;
    dInput = d;
    return d * decay;
  }
  S kept(0.0), added(0.0);
  if (kind == ScanKind::max) {
    kept = S(valueOf(prev + decay) >= valueOf(input) ? 1.0 : 0.0);
    added = S(1.0) - kept;
  } else if (valueOf(next) > -std::numeric_limits<double>::infinity()) {
    kept = exponential(prev + decay - next);
    added = exponential(input - next);
  }
  dDecay = d * kept;
  dInput = d * added;
  return d * kept;
}

template <class S> ScanGrad<S> scanGrad(ScanKind kind, const ScanGradInput<S> &in) {
  ScanGrad<S> grad{in.dLast, in.decay, in.decay};
  int64_t n = in.dLast.size(), tokens = in.decay.shape.sizes.empty() ? 0 : in.decay.shape.sizes[0];
  for (int64_t t = tokens - 1; t >= 0; --t)
    for (int64_t i = 0; i < n; ++i) {
      int64_t at = t * n + i;
      S d = grad.initial[i] + in.dNext[at];
      S back = retreat<S>(kind, d, in.decay[at], in.input[at], in.prev[at], in.next[at], grad.decay[at], grad.input[at]);
      grad.initial[i] = back + in.dPrev[at];
    }
  return grad;
}

/// Running sum along the first axis, from the last row if `reverse`, without
/// the row itself if `exclusive`.
template <class S> Tensor<S> cumsum(const Tensor<S> &value, bool reverse, bool exclusive) {
  Tensor<S> result(value.shape);
  int64_t tokens = value.shape.sizes.empty() ? 0 : value.shape.sizes[0], n = value.rowSize();
  std::vector<S> sum(n, S(0.0));
  for (int64_t step = 0; step < tokens; ++step) {
    int64_t t = reverse ? tokens - 1 - step : step;
    for (int64_t i = 0; i < n; ++i) {
      S before = sum[i];
      sum[i] = before + value[t * n + i];
      result[t * n + i] = exclusive ? before : sum[i];
    }
  }
  return result;
}

} // namespace fla::interp

#endif
