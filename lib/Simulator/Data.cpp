//===- Data.cpp - constants, vectors and structs --------------------------===//
//
// Taking vectors and structs apart and putting them together only renames
// scalars; constants are filled in once.
//
//===----------------------------------------------------------------------===//
#include "ThreadBlock.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace fla::sim;

//===----------------------------------------------------------------------===//
// Constants
//===----------------------------------------------------------------------===//

static uint64_t bitsOf(Attribute value) {
  if (auto number = dyn_cast<FloatAttr>(value))
    return number.getValue().bitcastToAPInt().getZExtValue();
  return cast<IntegerAttr>(value).getValue().getZExtValue();
}

static void compileConstant(Operation &op, Compiler &c) {
  Attribute value = op.getAttr("value");
  if (isa<FloatAttr, IntegerAttr>(value))
    return c.rename(op.getResult(0), {c.constant(bitsOf(value))});
  auto elements = dyn_cast<DenseElementsAttr>(value);
  if (!elements)
    return c.unsupported(op, "a constant that is neither a number nor a vector of numbers");
  Slots slots;
  for (Attribute element : elements.getValues<Attribute>())
    slots.push_back(c.constant(bitsOf(element)));
  c.rename(op.getResult(0), slots);
}

/// What nobody defined spoils results: not a number, or a large integer.
static uint64_t poison(Element element) {
  switch (element.kind) {
  case Element::Int:
    return 0xbaadf00dbaadf00d & lowBits(element.bits);
  case Element::F16:
  case Element::BF16:
    return 0x7fff;
  case Element::F32:
    return 0x7fffffff;
  case Element::F64:
    return lowBits(63);
  }
  return 0;
}

template <bool zero> static void compileFilled(Operation &op, Compiler &c) {
  llvm::SmallVector<Element> elements;
  if (!flatten(op.getResult(0).getType(), elements))
    return c.unsupported(op, "a value of a type without scalars of at most 64 bits");
  Slots slots;
  for (Element element : elements)
    slots.push_back(c.constant(zero ? 0 : poison(element)));
  c.rename(op.getResult(0), slots);
}

//===----------------------------------------------------------------------===//
// Elements
//===----------------------------------------------------------------------===//

static void compileExtractElement(Operation &op, Compiler &c) {
  Slots from(c.slots(op.getOperand(0)));
  if (std::optional<uint64_t> index = c.constantOf(op.getOperand(1))) {
    if (*index >= from.size())
      return c.unsupported(op, "an index outside the vector");
    return c.rename(op.getResult(0), {from[*index]});
  }
  Slot index = c.slot(op.getOperand(1)), target = c.define(op.getResult(0))[0];
  c.step([=](ThreadBlock &b) {
    for (unsigned t = b.begin(); t < b.end(); ++t)
      b.slot(target)[t] = b.slot(from[std::min<uint64_t>(b.slot(index)[t], from.size() - 1)])[t];
  });
}

static void compileInsertElement(Operation &op, Compiler &c) {
  Slots slots(c.slots(op.getOperand(0)));
  Slot value = c.slot(op.getOperand(1));
  if (std::optional<uint64_t> index = c.constantOf(op.getOperand(2))) {
    if (*index >= slots.size())
      return c.unsupported(op, "an index outside the vector");
    slots[*index] = value;
    return c.rename(op.getResult(0), slots);
  }
  Slot index = c.slot(op.getOperand(2));
  Slots targets = c.define(op.getResult(0));
  for (size_t i = 0; i < slots.size(); ++i)
    c.map(targets[i], slots[i], value, index, [i](uint64_t old, uint64_t inserted, uint64_t at) { return at == i ? inserted : old; });
}

/// Where the field at `position` lies among a type's scalars: start and count.
static std::pair<size_t, size_t> rangeOf(Type type, llvm::ArrayRef<int64_t> position) {
  size_t start = 0;
  auto countOf = [](Type part) {
    llvm::SmallVector<Element> elements;
    flatten(part, elements);
    return elements.size();
  };
  for (int64_t index : position) {
    if (auto structure = dyn_cast<LLVM::LLVMStructType>(type)) {
      for (Type before : structure.getBody().take_front(index))
        start += countOf(before);
      type = structure.getBody()[index];
    } else if (auto array = dyn_cast<LLVM::LLVMArrayType>(type)) {
      type = array.getElementType();
      start += index * countOf(type);
    } else if (auto vector = dyn_cast<VectorType>(type)) {
      type = vector.getRank() > 1 ? Type(VectorType::get(vector.getShape().drop_front(), vector.getElementType())) : vector.getElementType();
      start += index * countOf(type);
    }
  }
  return {start, countOf(type)};
}

static void compileExtractValue(Operation &op, Compiler &c) {
  auto extract = cast<LLVM::ExtractValueOp>(op);
  auto [start, count] = rangeOf(extract.getContainer().getType(), extract.getPosition());
  c.rename(extract.getResult(), Slots(c.slots(extract.getContainer()).slice(start, count)));
}

static void compileInsertValue(Operation &op, Compiler &c) {
  auto insert = cast<LLVM::InsertValueOp>(op);
  auto [start, count] = rangeOf(insert.getContainer().getType(), insert.getPosition());
  Slots slots(c.slots(insert.getContainer()));
  llvm::copy(c.slots(insert.getValue()), slots.begin() + start);
  c.rename(insert.getResult(), slots);
}

static void compileShuffle(Operation &op, Compiler &c) {
  auto shuffle = cast<LLVM::ShuffleVectorOp>(op);
  Slots both(c.slots(shuffle.getV1())), slots;
  llvm::append_range(both, c.slots(shuffle.getV2()));
  for (int32_t index : shuffle.getMask())
    slots.push_back(both[std::max(index, 0)]);
  c.rename(shuffle.getResult(), slots);
}

static void compileVectorExtract(Operation &op, Compiler &c) {
  auto extract = cast<vector::ExtractOp>(op);
  if (extract.hasDynamicPosition())
    return c.unsupported(op, "a position that is not constant");
  auto [start, count] = rangeOf(extract.getSource().getType(), extract.getStaticPosition());
  c.rename(extract.getResult(), Slots(c.slots(extract.getSource()).slice(start, count)));
}

static void compileVectorInsert(Operation &op, Compiler &c) {
  auto insert = cast<vector::InsertOp>(op);
  if (insert.hasDynamicPosition())
    return c.unsupported(op, "a position that is not constant");
  auto [start, count] = rangeOf(insert.getDest().getType(), insert.getStaticPosition());
  Slots slots(c.slots(insert.getDest()));
  llvm::copy(c.slots(insert.getValueToStore()), slots.begin() + start);
  c.rename(insert.getResult(), slots);
}

static void compileFromElements(Operation &op, Compiler &c) {
  Slots slots;
  for (Value element : op.getOperands())
    slots.push_back(c.slot(element));
  c.rename(op.getResult(0), slots);
}

static void compileToElements(Operation &op, Compiler &c) {
  Slots slots(c.slots(op.getOperand(0)));
  for (auto [result, slot] : llvm::zip_equal(op.getResults(), slots))
    c.rename(result, {slot});
}

/// Of a scalar, or of a vector whose elements repeat.
static void compileBroadcast(Operation &op, Compiler &c) {
  llvm::SmallVector<Element> elements;
  flatten(op.getResult(0).getType(), elements);
  Slots from(c.slots(op.getOperand(0))), slots;
  auto vector = dyn_cast<VectorType>(op.getOperand(0).getType());
  if (vector && vector.getNumElements() != 1 && vector.getShape().back() != cast<VectorType>(op.getResult(0).getType()).getShape().back())
    return c.unsupported(op, "a broadcast inside a vector");
  for (size_t i = 0; i < elements.size(); ++i)
    slots.push_back(from[i % from.size()]);
  c.rename(op.getResult(0), slots);
}

//===----------------------------------------------------------------------===//
// The same bits as other scalars
//===----------------------------------------------------------------------===//

static unsigned bitsPerScalar(Type type) { return elementOf(type).bits; }

static void compileBitcast(Operation &op, Compiler &c) {
  unsigned from = bitsPerScalar(op.getOperand(0).getType()), to = bitsPerScalar(op.getResult(0).getType());
  Slots sources(c.slots(op.getOperand(0)));
  if (from == to)
    return c.rename(op.getResult(0), sources);
  Slots targets = c.define(op.getResult(0));
  if (from > to) {
    for (auto [i, target] : llvm::enumerate(targets)) {
      unsigned shift = i % (from / to) * to;
      c.map(target, sources[i / (from / to)], [=](uint64_t x) { return x >> shift & lowBits(to); });
    }
    return;
  }
  unsigned parts = to / from;
  c.step([=](ThreadBlock &b) {
    for (unsigned t = b.begin(); t < b.end(); ++t)
      for (size_t i = 0; i < targets.size(); ++i) {
        uint64_t bits = 0;
        for (unsigned part = 0; part < parts; ++part)
          bits |= b.slot(sources[i * parts + part])[t] << part * from;
        b.slot(targets[i])[t] = bits;
      }
  });
}

/// Between integers and addresses: the low bits, or zeros above.
static void compileResize(Operation &op, Compiler &c) {
  unsigned from = bitsPerScalar(op.getOperand(0).getType()), to = bitsPerScalar(op.getResult(0).getType());
  if (from <= to)
    return c.rename(op.getResult(0), Slots(c.slots(op.getOperand(0))));
  Slots sources(c.slots(op.getOperand(0))), targets = c.define(op.getResult(0));
  for (auto [target, source] : llvm::zip_equal(targets, sources))
    c.map(target, source, [=](uint64_t x) { return x & lowBits(to); });
}

static void compileSame(Operation &op, Compiler &c) { c.rename(op.getResult(0), Slots(c.slots(op.getOperand(0)))); }

static void compileNothing(Operation &, Compiler &) {}

void fla::sim::addData(Compiler::Handlers &handlers) {
  handlers["arith.constant"] = handlers["llvm.mlir.constant"] = compileConstant;
  handlers["llvm.mlir.zero"] = compileFilled<true>;
  handlers["llvm.mlir.undef"] = handlers["llvm.mlir.poison"] = handlers["ub.poison"] = compileFilled<false>;
  handlers["llvm.extractelement"] = compileExtractElement;
  handlers["llvm.insertelement"] = compileInsertElement;
  handlers["llvm.extractvalue"] = compileExtractValue;
  handlers["llvm.insertvalue"] = compileInsertValue;
  handlers["llvm.shufflevector"] = compileShuffle;
  handlers["vector.extract"] = compileVectorExtract;
  handlers["vector.insert"] = compileVectorInsert;
  handlers["vector.from_elements"] = compileFromElements;
  handlers["vector.to_elements"] = compileToElements;
  handlers["vector.broadcast"] = compileBroadcast;
  handlers["llvm.bitcast"] = handlers["arith.bitcast"] = handlers["vector.bitcast"] = compileBitcast;
  handlers["llvm.ptrtoint"] = handlers["llvm.inttoptr"] = handlers["arith.extui"] = handlers["llvm.zext"] = handlers["arith.index_castui"] =
      handlers["arith.trunci"] = handlers["llvm.trunc"] = compileResize;
  handlers["llvm.freeze"] = compileSame;
  handlers["llvm.intr.assume"] = compileNothing;
}
