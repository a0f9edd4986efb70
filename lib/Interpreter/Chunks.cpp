//===- Chunks.cpp - a chunk program over a sequence -----------------------===//
#include "Arguments.h"

#include "fla/Dialect/Chunk/IR/Chunk.h"

using namespace mlir;
using namespace fla;
using namespace fla::interp;

namespace {

template <class S> class ChunkRunner {
public:
  ChunkRunner(chunk::ProgramOp op, int64_t tokens, int64_t chunkSize, const Sizes &dims)
      : op(op), tokens(tokens), chunkSize(chunkSize), chunks((tokens + chunkSize - 1) / chunkSize), sizes(dims) {
    sizes[kTokens] = chunkSize;
    sizes[kPast] = chunkSize;
  }

  llvm::Expected<ChunkResult<S>> run(const Named<S> &values) {
    if (llvm::Error error = bindArguments(values))
      return std::move(error);
    if (llvm::Error error = makeResults())
      return std::move(error);
    for (int64_t i = 0; i < chunks; ++i)
      if (llvm::Error error = runChunk(op.getReverse() ? chunks - 1 - i : i))
        return std::move(error);
    for (int64_t i = 0, n = carries.size(); i < n; ++i)
      result.carries[resultName(op.getYield().getTokens().size() + i)] = carries[i];
    return std::move(result);
  }

private:
  std::string resultName(unsigned i) { return op.getResultName(i).str(); }

  // The shape of an argument as the caller gives it.
  Shape givenShape(unsigned i, const Shape &own) {
    unsigned firstSaved = op.getNumTokens() + op.getNumParams() + op.getNumCarries();
    if (i < op.getNumTokens())
      return own.inner().outer(kTokens, tokens);
    return i < firstSaved ? own : own.outer("chunks", chunks);
  }

  llvm::Error bindArguments(const Named<S> &values) {
    unsigned firstCarry = op.getNumTokens() + op.getNumParams();
    for (auto [i, arg] : llvm::enumerate(op.getStep().getArguments())) {
      llvm::Expected<Shape> shape = shapeOf(arg.getType(), sizes);
      if (!shape)
        return shape.takeError();
      bool carry = i >= firstCarry && i < firstCarry + op.getNumCarries();
      DictionaryAttr attrs = op.getArgAttr(i);
      std::optional<double> fallback = numberAttr(attrs, carry ? "init" : "default");
      if (carry && !fallback)
        fallback = 0.0;
      auto value = argument<S>(op.getArgName(i), values, givenShape(i, *shape), fallback);
      if (!value)
        return value.takeError();
      (carry ? carries : arguments).push_back(std::move(*value));
    }
    return llvm::Error::success();
  }

  llvm::Error makeResults() {
    chunk::YieldOp yield = op.getYield();
    unsigned name = 0;
    auto make = [&](ValueRange values, Named<S> &into, auto shapeFor) -> llvm::Error {
      for (Value value : values) {
        llvm::Expected<Shape> shape = shapeOf(value.getType(), sizes);
        if (!shape)
          return shape.takeError();
        into[resultName(name++)] = Tensor<S>(shapeFor(*shape));
      }
      return llvm::Error::success();
    };
    if (llvm::Error error = make(yield.getTokens(), result.tokens, [&](const Shape &s) { return s.inner().outer(kTokens, tokens); }))
      return error;
    name += yield.getCarries().size();
    if (llvm::Error error = make(yield.getSaved(), result.saved, [&](const Shape &s) { return s.outer("chunks", chunks); }))
      return error;
    return make(yield.getSums(), result.sums, [](const Shape &s) { return s; });
  }

  // Rows past the end of the sequence read as zero.
  Tensor<S> loadRows(const Tensor<S> &from, int64_t chunk, const Shape &shape) const {
    Tensor<S> rows(shape);
    int64_t first = chunk * chunkSize, n = rows.rowSize();
    int64_t count = std::min(chunkSize, tokens - first);
    std::copy_n(from.data.begin() + first * n, count * n, rows.data.begin());
    return rows;
  }

  void storeRows(const Tensor<S> &rows, int64_t chunk, Tensor<S> &into) const {
    int64_t first = chunk * chunkSize, n = into.rowSize();
    int64_t count = std::min(chunkSize, tokens - first);
    std::copy_n(rows.data.begin(), count * n, into.data.begin() + first * n);
  }

  llvm::Error bindChunk(int64_t chunk, Environment<S> &env) {
    for (auto [arg, value] : llvm::zip(op.getTokens(), arguments)) {
      llvm::Expected<Shape> shape = env.shape(arg);
      if (!shape)
        return shape.takeError();
      if (llvm::Error error = env.set(arg, loadRows(value, chunk, *shape)))
        return error;
    }
    llvm::ArrayRef<Tensor<S>> rest = llvm::ArrayRef<Tensor<S>>(arguments).drop_front(op.getNumTokens());
    for (auto [arg, value] : llvm::zip(op.getParams(), rest))
      if (llvm::Error error = env.set(arg, value))
        return error;
    for (auto [arg, value] : llvm::zip(op.getCarries(), carries))
      if (llvm::Error error = env.set(arg, value))
        return error;
    for (auto [arg, value] : llvm::zip(op.getSaved(), rest.drop_front(op.getNumParams())))
      if (llvm::Error error = env.set(arg, value.row(chunk)))
        return error;
    return llvm::Error::success();
  }

  llvm::Error runChunk(int64_t chunk) {
    Environment<S> env(sizes);
    env.validRows = std::min(chunkSize, tokens - chunk * chunkSize);
    if (llvm::Error error = bindChunk(chunk, env))
      return error;
    if (llvm::Error error = evaluateBlock(op.getStep(), env))
      return error;
    collect(chunk, env);
    return llvm::Error::success();
  }

  void collect(int64_t chunk, Environment<S> &env) {
    chunk::YieldOp yield = op.getYield();
    unsigned name = 0;
    for (Value value : yield.getTokens())
      storeRows(env[value], chunk, result.tokens[resultName(name++)]);
    for (auto [carry, value] : llvm::zip(carries, yield.getCarries()))
      carry = env[value];
    name += carries.size();
    for (Value value : yield.getSaved())
      result.saved[resultName(name++)].setRow(chunk, env[value]);
    for (Value value : yield.getSums()) {
      Tensor<S> &sum = result.sums[resultName(name++)];
      sum = sum + env[value];
    }
  }

  chunk::ProgramOp op;
  int64_t tokens, chunkSize, chunks;
  Sizes sizes;
  std::vector<Tensor<S>> arguments; ///< tokens, params, saved
  std::vector<Tensor<S>> carries;
  ChunkResult<S> result;
};

} // namespace

template <class S>
llvm::Expected<ChunkResult<S>> fla::interp::runChunks(chunk::ProgramOp program, const Named<S> &values, int64_t tokens, int64_t chunkSize, const Sizes &dims) {
  if (chunkSize <= 0 || tokens < 0)
    return errorAt(program, "expected a positive chunk size and a length that is not negative");
  return ChunkRunner<S>(program, tokens, chunkSize, dims).run(values);
}

template llvm::Expected<ChunkResult<double>> fla::interp::runChunks(chunk::ProgramOp, const Named<double> &, int64_t, int64_t, const Sizes &);
template llvm::Expected<ChunkResult<Var>> fla::interp::runChunks(chunk::ProgramOp, const Named<Var> &, int64_t, int64_t, const Sizes &);
