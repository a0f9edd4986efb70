//===- Kernels.cpp - kernels over their grid ------------------------------===//
#include "fla/Interpreter/Kernels.h"

#include "fla/Interpreter/Evaluate.h"
#include "llvm/ADT/TypeSwitch.h"
#include <limits>
#include <map>

using namespace mlir;
using namespace fla;
using namespace fla::interp;
using tile::BufferKind;

static int64_t innerSize(tile::BufferType type) {
  int64_t product = 1;
  for (int64_t size : type.getShape())
    product *= size;
  return product;
}

int64_t fla::interp::bufferSize(tile::BufferType type, const Launch &launch, int64_t heads, int64_t chunk) {
  switch (type.getKind()) {
  case BufferKind::token:
    return launch.batch * launch.tokens * heads * innerSize(type);
  case BufferKind::param:
    return heads * innerSize(type);
  case BufferKind::value:
    return 1;
  case BufferKind::state:
    return launch.numSequences() * heads * innerSize(type);
  case BufferKind::saved:
    return launch.numSlots(chunk) * heads * innerSize(type);
  }
  return 0;
}

namespace {

/// Which rows of which batch entry form a sequence, and what this point does.
struct Point {
  int64_t sequence = 0, batch = 0, firstRow = 0, numRows = 0, firstSlot = 0;
  int64_t head = 0, block = 0, chunk = 0;
};

/// One grid point of one kernel.
class PointRunner {
public:
  PointRunner(tile::KernelOp kernel, llvm::ArrayRef<HostBuffer *> buffers, const Launch &launch, const Point &point)
      : kernel(kernel), buffers(buffers), launch(launch), point(point), chunk(kernel.getChunk()), blocks(std::max<int64_t>(kernel.getBlocks(), 1)),
        env(noSizes) {
    env.hook = [this](Operation *op, Environment<double> &) { return touch(op); };
  }

  llvm::Error run() { return evaluateBlock(kernel.getBody().front(), env); }

private:
  using Number = Tensor<double>;

  int64_t numChunks() const { return (point.numRows + chunk - 1) / chunk; }

  // Operations that know the grid or touch memory.
  llvm::Error touch(Operation *op) {
    auto bind = [&](double x) { return env.set(op->getResult(0), Number::scalar(x)); };
    return llvm::TypeSwitch<Operation *, llvm::Error>(op)
        .Case([&](tile::NumChunksOp) { return bind(numChunks()); })
        .Case([&](tile::ChunkIdOp) { return bind(point.chunk * int64_t(kernel.getSpan())); })
        .Case([&](tile::FirstBlockOp) { return bind(point.block == 0); })
        .Case([&](tile::ValidOp o) { return valid(o); })
        .Case([&](tile::LoadOp o) { return load(o); })
        .Case([&](tile::StoreOp o) { return store(o); })
        .Case([&](tile::AllocOp) { return llvm::Error::success(); })
        .Case([&](tile::CopyOp o) { return copy(o); })
        .Case([&](tile::WaitOp) { return llvm::Error::success(); })
        .Case([&](tile::ReadOp o) { return read(o); })
        .Default([](Operation *o) { return errorAt(o, "expected an operation that the kernel interpreter knows"); });
  }

  llvm::Error valid(tile::ValidOp op) {
    llvm::Expected<Shape> shape = env.shape(op.getResult());
    if (!shape)
      return shape.takeError();
    Number rows(*shape);
    int64_t first = index(op.getChunk()) * chunk;
    for (int64_t i = 0; i < rows.size(); ++i)
      rows[i] = first + i < point.numRows ? 1.0 : 0.0;
    return env.set(op.getResult(), rows);
  }

  int64_t index(Value value) { return static_cast<int64_t>(env[value][0]); }

  //===--------------------------------------------------------------------===//
  // Addresses
  //===--------------------------------------------------------------------===//

  /// Where an access goes: a row of the tile against an element of the buffer.
  struct Access {
    HostBuffer *buffer = nullptr;
    tile::BufferType type;
    int64_t rows = 1;      ///< rows of the tile inside the sequence
    int64_t first = 0;     ///< element of the buffer where row 0 starts
    int64_t rowStride = 0; ///< elements between rows
    Shape tile;            ///< inner axes of the tile
    int64_t narrow = -1;   ///< the axis that the block index slices
  };

  llvm::Expected<Access> access(Operation *op, Value buffer, Value chunkIndex, Type valueType) {
    Access a;
    auto arg = dyn_cast<BlockArgument>(buffer);
    if (!arg || arg.getOwner() != &kernel.getBody().front())
      return errorAt(op, "expected a buffer that is an argument of the kernel");
    a.buffer = buffers[arg.getArgNumber()];
    a.type = cast<tile::BufferType>(buffer.getType());
    llvm::Expected<Shape> shape = shapeOf(valueType, noSizes);
    if (!shape)
      return shape.takeError();
    bool tokens = a.type.getKind() == BufferKind::token;
    a.tile = tokens ? shape->inner() : *shape;
    for (auto [axis, full, own] : llvm::enumerate(a.type.getShape(), a.tile.sizes))
      if (own < full)
        a.narrow = axis;
    if (a.buffer)
      if (llvm::Error error = locate(op, a, chunkIndex ? index(chunkIndex) : 0))
        return std::move(error);
    return a;
  }

  llvm::Error locate(Operation *op, Access &a, int64_t chunkIndex) {
    BufferKind kind = a.type.getKind();
    bool chunked = kind == BufferKind::token || kind == BufferKind::saved;
    if (chunked && (chunkIndex < 0 || chunkIndex >= std::max<int64_t>(numChunks(), 1)))
      return errorAt(op, "expected a chunk below " + llvm::Twine(numChunks()) + ", got " + llvm::Twine(chunkIndex));
    int64_t heads = a.buffer->heads, element = innerSize(a.type);
    int64_t head = point.head / std::max<int64_t>(launch.heads / heads, 1);
    int64_t row = point.batch * launch.tokens + point.firstRow + chunkIndex * chunk;
    a.rowStride = heads * element;
    switch (kind) {
    case BufferKind::token:
      a.rows = std::clamp<int64_t>(point.numRows - chunkIndex * chunk, 0, chunk);
      a.first = (row * heads + head) * element;
      break;
    case BufferKind::param:
      a.first = head * element;
      break;
    case BufferKind::value:
      a.first = 0;
      break;
    case BufferKind::state:
      a.first = (point.sequence * heads + head) * element;
      break;
    case BufferKind::saved:
      a.first = ((point.firstSlot + chunkIndex) * heads + head) * element;
      break;
    }
    int64_t end = a.rows == 0 ? 0 : a.first + (a.rows - 1) * a.rowStride + element;
    if (end > static_cast<int64_t>(a.buffer->data.size()))
      return errorAt(op, "expected a buffer of at least " + llvm::Twine(end) + " elements, got " + llvm::Twine(a.buffer->data.size()));
    return llvm::Error::success();
  }

  // Element of the buffer's inner axes for an element of the tile's; -1 beyond their extent.
  int64_t innerPosition(const Access &a, int64_t i) const {
    int64_t at = 0, stride = 1;
    for (int64_t axis = static_cast<int64_t>(a.tile.rank()) - 1; axis >= 0; --axis) {
      int64_t own = a.tile.sizes[axis], full = a.type.getShape()[axis], coordinate = i % own;
      int64_t slice = axis == a.narrow ? (full + blocks - 1) / blocks : full, start = axis == a.narrow ? point.block * slice : 0;
      if (coordinate >= slice || start + coordinate >= full)
        return -1;
      at += (start + coordinate) * stride;
      i /= own;
      stride *= full;
    }
    return at;
  }

  llvm::Error load(tile::LoadOp op) {
    llvm::Expected<Number> value = fetch(op, op.getBuffer(), op.getChunk(), op.getType(), op.getAbsent());
    return value ? env.set(op.getResult(), *value) : value.takeError();
  }

  llvm::Expected<Number> fetch(Operation *op, Value buffer, Value chunkIndex, Type type, const llvm::APFloat &absent) {
    llvm::Expected<Access> a = access(op, buffer, chunkIndex, type);
    if (!a)
      return a.takeError();
    llvm::Expected<Shape> shape = shapeOf(type, noSizes);
    if (!shape)
      return shape.takeError();
    Number value(*shape, a->buffer ? 0.0 : absent.convertToDouble());
    if (!a->buffer && a->type.getKind() == BufferKind::token)
      clearPastEnd(value, index(chunkIndex));
    int64_t n = a->tile.count();
    for (int64_t row = 0; a->buffer && row < a->rows; ++row)
      for (int64_t i = 0; i < n; ++i)
        if (int64_t at = innerPosition(*a, i); at >= 0)
          value[row * n + i] = a->buffer->data[a->first + row * a->rowStride + at];
    return value;
  }

  // A copy arrives at once; stages are known by their room and number.
  llvm::Error copy(tile::CopyOp op) {
    auto room = op.getShared().getType();
    auto tile = RankedTensorType::get(room.getShape(), room.getElementType());
    Type type = room.getShape().empty() ? room.getElementType() : Type(tile);
    llvm::Expected<Number> value = fetch(op, op.getBuffer(), op.getChunk(), type, op.getAbsent());
    if (!value)
      return value.takeError();
    int64_t stage = index(op.getStage());
    if (stage < 0 || stage >= room.getStages())
      return errorAt(op, "expected a stage below " + llvm::Twine(room.getStages()) + ", got " + llvm::Twine(stage));
    stages[{op.getShared().getAsOpaquePointer(), stage}] = std::move(*value);
    return llvm::Error::success();
  }

  llvm::Error read(tile::ReadOp op) {
    auto it = stages.find({op.getShared().getAsOpaquePointer(), index(op.getStage())});
    if (it == stages.end())
      return errorAt(op, "expected a stage that a copy filled, got " + llvm::Twine(index(op.getStage())));
    return env.set(op.getResult(), it->second);
  }

  // Rows past the end of the sequence are zero, whatever stands for the others.
  void clearPastEnd(Number &value, int64_t chunkIndex) const {
    int64_t rows = std::clamp<int64_t>(point.numRows - chunkIndex * chunk, 0, chunk);
    std::fill(value.data.begin() + rows * value.rowSize(), value.data.end(), 0.0);
  }

  llvm::Error store(tile::StoreOp op) {
    llvm::Expected<Access> a = access(op, op.getBuffer(), op.getChunk(), op.getValue().getType());
    if (!a)
      return a.takeError();
    if (!a->buffer)
      return llvm::Error::success();
    if (a->buffer->heads != launch.heads && a->type.getKind() != BufferKind::value)
      return errorAt(op, "expected an output for each of " + llvm::Twine(launch.heads) + " heads, got " + llvm::Twine(a->buffer->heads));
    const Number &value = env[op.getValue()];
    int64_t n = a->tile.count();
    for (int64_t row = 0; row < a->rows; ++row)
      for (int64_t i = 0; i < n; ++i)
        if (int64_t at = innerPosition(*a, i); at >= 0)
          a->buffer->data[a->first + row * a->rowStride + at] = value[row * n + i];
    return llvm::Error::success();
  }

  const Sizes noSizes;
  tile::KernelOp kernel;
  llvm::ArrayRef<HostBuffer *> buffers;
  const Launch &launch;
  Point point;
  int64_t chunk, blocks;
  Environment<double> env;
  std::map<std::pair<void *, int64_t>, Number> stages;
};

} // namespace

//===----------------------------------------------------------------------===//
// The grid
//===----------------------------------------------------------------------===//

static Point sequenceStart(const Launch &launch, int64_t sequence, int64_t chunk) {
  Point point;
  point.sequence = sequence;
  if (launch.offsets.empty()) {
    point.batch = sequence;
    point.numRows = launch.tokens;
  } else {
    point.firstRow = launch.offsets[sequence];
    point.numRows = launch.offsets[sequence + 1] - point.firstRow;
  }
  point.firstSlot = (point.batch * launch.tokens + point.firstRow) / chunk + sequence;
  return point;
}

static llvm::Error runSequence(tile::KernelOp kernel, llvm::ArrayRef<HostBuffer *> buffers, const Launch &launch, Point point) {
  int64_t tokens = kernel.getChunk() * kernel.getSpan(), chunks = kernel.getOverChunks() ? (point.numRows + tokens - 1) / tokens : 1;
  for (point.head = 0; point.head < launch.heads; ++point.head)
    for (point.block = 0; point.block < int64_t(kernel.getBlocks()); ++point.block)
      for (point.chunk = 0; point.chunk < chunks; ++point.chunk)
        if (llvm::Error error = PointRunner(kernel, buffers, launch, point).run())
          return error;
  return llvm::Error::success();
}

static llvm::Error checkLaunch(tile::KernelOp kernel, const Launch &launch) {
  if (int64_t(kernel.getChunk()) <= 0)
    return errorAt(kernel, "expected a positive chunk");
  for (size_t i = 1; i < launch.offsets.size(); ++i)
    if (launch.offsets[i] < launch.offsets[i - 1] || launch.offsets[i - 1] < 0 || launch.offsets[i] > launch.tokens)
      return errorAt(kernel, "expected offsets that increase from 0 to the number of tokens");
  return llvm::Error::success();
}

llvm::Error fla::interp::runKernel(tile::KernelOp kernel, Buffers &buffers, const Launch &launch) {
  if (llvm::Error error = checkLaunch(kernel, launch))
    return error;
  llvm::SmallVector<HostBuffer *> bound;
  for (unsigned i = 0; i < kernel.getArgNames().size(); ++i) {
    auto it = buffers.find(kernel.getArgName(i).str());
    bound.push_back(it == buffers.end() || it->second.data.empty() ? nullptr : &it->second);
  }
  for (int64_t n = 0; n < launch.numSequences(); ++n)
    if (llvm::Error error = runSequence(kernel, bound, launch, sequenceStart(launch, n, kernel.getChunk())))
      return error;
  return llvm::Error::success();
}

// A buffer that no sequence wrote must not look like a result.
static void makeBuffer(tile::KernelOp kernel, unsigned argument, Buffers &buffers, const Launch &launch) {
  auto type = cast<tile::BufferType>(kernel.getBody().front().getArgument(argument).getType());
  auto [it, isNew] = buffers.try_emplace(kernel.getArgName(argument).str());
  if (isNew) {
    it->second.heads = launch.heads;
    it->second.data.assign(bufferSize(type, launch, launch.heads, kernel.getChunk()), std::numeric_limits<double>::quiet_NaN());
  }
}

static void clearTail(tile::KernelOp kernel, unsigned argument, Buffers &buffers, const Launch &launch) {
  auto type = cast<tile::BufferType>(kernel.getBody().front().getArgument(argument).getType());
  if (launch.offsets.empty() || type.getKind() != BufferKind::token)
    return;
  HostBuffer &buffer = buffers[kernel.getArgName(argument).str()];
  size_t row = buffer.heads * innerSize(type), used = launch.offsets.back() * row;
  if (used < buffer.data.size())
    std::fill(buffer.data.begin() + used, buffer.data.end(), 0.0);
}

llvm::Error fla::interp::runKernels(ModuleOp module, Buffers &buffers, const Launch &launch) {
  for (tile::KernelOp kernel : module.getOps<tile::KernelOp>()) {
    if (int64_t(kernel.getChunk()) <= 0)
      return errorAt(kernel, "expected a positive chunk");
    for (auto [i, written] : llvm::enumerate(kernel.getOutputs()))
      if (written)
        makeBuffer(kernel, i, buffers, launch);
    if (llvm::Error error = runKernel(kernel, buffers, launch))
      return error;
    for (auto [i, written] : llvm::enumerate(kernel.getOutputs()))
      if (written)
        clearTail(kernel, i, buffers, launch);
  }
  return llvm::Error::success();
}
