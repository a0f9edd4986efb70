//===- Fission.cpp - what passes that divide a loop share -----------------===//
#include "Fission.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;

namespace fla::tile {

ArrayRef<int64_t> shapeOf(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor ? tensor.getShape() : ArrayRef<int64_t>();
}
int64_t elements(ArrayRef<int64_t> shape) {
  int64_t product = 1;
  for (int64_t size : shape)
    product *= size;
  return product;
}

bool isOperand(OpOperand &use) { return isa<DotOp>(use.getOwner()) && use.getOperandNumber() < 2; }

bool isHeavy(Operation *op) { return isa<DotOp, InverseOp, SegSumOp, SegSumGradOp, LevelDecayOp, LevelDecayGradOp>(op); }

bool isElementwise(Operation *op) {
  return op->getDialect()->getNamespace() == arith::ArithDialect::getDialectNamespace() ||
         isa<BroadcastOp, TransposeOp, tensor::ExtractSliceOp, tensor::InsertSliceOp, tensor::CollapseShapeOp, tensor::ExpandShapeOp>(op);
}

bool isNarrow(Operation *op) {
  auto narrow = [](BufferType buffer, Type tile) {
    ArrayRef<int64_t> shape = shapeOf(tile);
    if (buffer.getKind() == BufferKind::token && !shape.empty())
      shape = shape.drop_front();
    return llvm::any_of(llvm::zip(shape, buffer.getShape()), [](auto sizes) { return std::get<0>(sizes) < std::get<1>(sizes); });
  };
  if (auto load = dyn_cast<LoadOp>(op))
    return narrow(load.getBuffer().getType(), load.getType());
  if (auto store = dyn_cast<StoreOp>(op))
    return narrow(store.getBuffer().getType(), store.getValue().getType());
  return isa<FirstBlockOp>(op);
}

Type operandType(KernelOp kernel) {
  if (auto given = kernel->getAttrOfType<TypeAttr>("operands"))
    return given.getValue();
  for (BlockArgument arg : kernel.getBody().getArguments()) {
    auto buffer = cast<BufferType>(arg.getType());
    Type element = buffer.getElementType();
    if (buffer.getKind() == BufferKind::token && !buffer.getShape().empty())
      return element.isF16() || element.isBF16() ? element : Type(Float32Type::get(kernel.getContext()));
  }
  return Float32Type::get(kernel.getContext());
}

int64_t bytesOfBuffers(KernelOp kernel) {
  int64_t sum = 0;
  for (BlockArgument arg : kernel.getBody().getArguments()) {
    auto buffer = cast<BufferType>(arg.getType());
    if (buffer.getKind() == BufferKind::token || buffer.getKind() == BufferKind::saved)
      sum += elements(buffer.getShape()) * bytes(buffer.getElementType()) * (buffer.getKind() == BufferKind::token ? kernel.getChunk() : 1);
  }
  return sum;
}

scf::ForOp chunkLoop(KernelOp kernel) {
  if (kernel.getOverChunks() || kernel.getChunk() == 1)
    return {};
  auto loops = llvm::to_vector(kernel.getBody().getOps<scf::ForOp>());
  return loops.size() == 1 && loops[0].getNumRegionIterArgs() ? loops[0] : scf::ForOp();
}

Value chunkIndexOf(scf::ForOp loop) {
  Value index;
  for (Operation &op : loop.getBody()->without_terminator()) {
    if (op.getNumRegions() || (!isMemoryEffectFree(&op) && !isa<LoadOp, StoreOp>(op)))
      return {};
    Value chunk;
    if (auto load = dyn_cast<LoadOp>(op))
      chunk = load.getChunk();
    else if (auto store = dyn_cast<StoreOp>(op))
      chunk = store.getChunk();
    else if (auto valid = dyn_cast<ValidOp>(op))
      chunk = valid.getChunk();
    if (!chunk)
      continue;
    if (index && chunk != index)
      return {};
    index = chunk;
  }
  return index;
}

KernelOp restore(KernelOp kernel, OwningOpRef<Operation *> whole) {
  OpBuilder(kernel).insert(*whole);
  kernel->erase();
  return cast<KernelOp>(whole.release());
}

//===----------------------------------------------------------------------===//
// Arguments
//===----------------------------------------------------------------------===//

void Arguments::add(StringAttr name, Attribute role, bool output, bool isPartial) {
  names.push_back(name);
  roles.push_back(role);
  outputs.push_back(output);
  partial.push_back(isPartial);
}

void Arguments::addTemp(Builder &b, StringRef name, bool output) { add(b.getStringAttr(name), b.getStringAttr("temp"), output, false); }

void Arguments::addOf(KernelOp kernel, unsigned i) {
  auto role = kernel->getAttrOfType<ArrayAttr>("roles");
  auto part = kernel->getAttrOfType<ArrayAttr>("partial");
  Builder b(kernel.getContext());
  add(b.getStringAttr(kernel.getArgName(i)), role ? role[i] : b.getStringAttr(""), kernel.getOutputs()[i],
      part && cast<BoolAttr>(part[i]).getValue());
}

void Arguments::addAll(KernelOp kernel) {
  for (unsigned i = 0; i < kernel.getBody().getNumArguments(); ++i)
    addOf(kernel, i);
}

void Arguments::give(KernelOp kernel, bool described) const {
  Builder b(kernel.getContext());
  kernel.setArgNamesAttr(b.getArrayAttr(names));
  kernel.setOutputs(outputs);
  if (!described)
    return;
  kernel->setAttr("roles", b.getArrayAttr(roles));
  kernel->setAttr("partial", b.getBoolArrayAttr(partial));
}

BufferType bufferFor(Type type, Type element, int64_t blocks) {
  auto shape = llvm::to_vector(shapeOf(type));
  if (!shape.empty())
    shape.back() *= blocks;
  return BufferType::get(type.getContext(), BufferKind::saved, shape, element);
}

void dropUnused(KernelOp kernel, Block *loop) {
  Block &body = kernel.getBody().front();
  llvm::BitVector unused(body.getNumArguments());
  for (Block *block : {loop, &body})
    for (Operation &op : llvm::make_early_inc_range(llvm::reverse(*block)))
      if (isOpTriviallyDead(&op))
        op.erase();
  Arguments arguments;
  for (BlockArgument arg : body.getArguments())
    if (arg.use_empty())
      unused.set(arg.getArgNumber());
    else
      arguments.addOf(kernel, arg.getArgNumber());
  arguments.give(kernel, kernel->hasAttr("roles"));
  body.eraseArguments(unused);
}

} // namespace fla::tile
