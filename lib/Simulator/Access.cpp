//===- Access.cpp - addresses, loads and stores ---------------------------===//
#include "ThreadBlock.h"

#include <cstring>

using namespace mlir;
using namespace fla::sim;

static constexpr unsigned sharedSpace = 3;

//===----------------------------------------------------------------------===//
// Addresses
//===----------------------------------------------------------------------===//

namespace {
/// base + constant + sum of index * scale.
struct Address {
  int64_t constant = 0;
  struct Term {
    Slot index;
    unsigned bits;
    int64_t scale;
  };
  llvm::SmallVector<Term, 2> terms;
};
} // namespace

static int64_t fieldOffset(LLVM::LLVMStructType structure, int64_t field) {
  llvm::SmallVector<Type> before(structure.getBody().take_front(field + 1));
  auto prefix = LLVM::LLVMStructType::getLiteral(structure.getContext(), before, structure.isPacked());
  return strideOf(prefix) - llvm::alignTo(strideOf(before.back()), structure.isPacked() ? 1 : strideOf(before.back()));
}

static bool addressOf(LLVM::GEPOp op, Compiler &c, Address &address) {
  Type type = op.getElemType();
  bool first = true;
  for (auto index : op.getIndices()) {
    if (!first) {
      if (auto structure = dyn_cast<LLVM::LLVMStructType>(type)) {
        auto field = dyn_cast<IntegerAttr>(index);
        if (!field)
          return false;
        address.constant += fieldOffset(structure, field.getInt());
        type = structure.getBody()[field.getInt()];
        continue;
      }
      if (auto array = dyn_cast<LLVM::LLVMArrayType>(type))
        type = array.getElementType();
      else if (auto vector = dyn_cast<VectorType>(type))
        type = vector.getElementType();
      else
        return false;
    }
    first = false;
    int64_t scale = strideOf(type);
    if (auto fixed = dyn_cast<IntegerAttr>(index))
      address.constant += fixed.getValue().getSExtValue() * scale;
    else
      address.terms.push_back({c.slot(cast<Value>(index)), elementOf(cast<Value>(index).getType()).bits, scale});
  }
  return true;
}

static void compileGEP(Operation &op, Compiler &c) {
  auto gep = cast<LLVM::GEPOp>(op);
  Address address;
  if (isa<VectorType>(gep.getType()) || !addressOf(gep, c, address))
    return c.unsupported(op, "an address that is not made of scalars, arrays and structs");
  Slot base = c.slot(gep.getBase()), target = c.define(gep.getResult())[0];
  uint64_t mask = lowBits(elementOf(gep.getType()).bits);
  int64_t constant = address.constant;
  if (address.terms.empty())
    return c.map(target, base, [=](uint64_t x) { return (x + constant) & mask; });
  for (auto [i, term] : llvm::enumerate(address.terms)) {
    int64_t scale = term.scale, add = i == 0 ? constant : 0;
    unsigned bits = term.bits;
    c.map(target, i == 0 ? base : target, term.index, [=](uint64_t x, uint64_t y) { return (x + add + signExtend(y, bits) * scale) & mask; });
  }
}

static void compileAddressOf(Operation &op, Compiler &c) {
  auto address = cast<LLVM::AddressOfOp>(op);
  std::optional<uint64_t> offset = c.sharedOffset(address.getGlobalName());
  if (!offset)
    return c.unsupported(op, "only globals in shared memory have an address");
  c.rename(address.getResult(), {c.constant(*offset)});
}

static void compileCast(Operation &op, Compiler &c) {
  unsigned from = addressSpaceOf(op.getOperand(0)), to = addressSpaceOf(op.getResult(0));
  if ((from == sharedSpace) != (to == sharedSpace))
    return c.unsupported(op, "generic addresses of shared memory");
  c.rename(op.getResult(0), c.slots(op.getOperand(0)));
}

//===----------------------------------------------------------------------===//
// Loads and stores
//===----------------------------------------------------------------------===//

static constexpr unsigned maxBytes = 128;

namespace {
/// What a load or a store moves for each thread.
struct Transfer {
  Slot pointer;
  Slots values;
  unsigned elementBytes, bytes, alignment;
  bool shared;
  uint32_t site;
};
} // namespace

/// Calls f with a number of the element's type: moves of known sizes are single instructions.
template <class F> static void withElement(unsigned bytes, F f) {
  switch (bytes) {
  case 1:
    return f(uint8_t());
  case 2:
    return f(uint16_t());
  case 4:
    return f(uint32_t());
  default:
    return f(uint64_t());
  }
}

static void count(ThreadBlock &b, const Transfer &x, bool reads) {
  if (x.shared)
    b.countShared(x.site, b.slot(x.pointer), x.bytes, reads);
  else
    b.countGlobal(x.site, b.slot(x.pointer), x.bytes);
}

template <class T> static void load(ThreadBlock &b, const Transfer &x) {
  static const std::vector<uint8_t> nothing(maxBytes, 0xff);
  const uint64_t *addresses = b.slot(x.pointer);
  for (unsigned t = b.begin(); t < b.end(); ++t) {
    if (!b.isActive(t))
      continue;
    const uint8_t *data =
        x.shared ? b.readShared(addresses[t], x.bytes, x.alignment, t, x.site) : b.readGlobal(addresses[t], x.bytes, x.alignment, t, x.site);
    for (size_t i = 0; i < x.values.size(); ++i) {
      T value;
      std::memcpy(&value, (data ? data : nothing.data()) + i * sizeof(T), sizeof(T));
      b.slot(x.values[i])[t] = value;
    }
  }
}

template <class T> static void store(ThreadBlock &b, const Transfer &x) {
  const uint64_t *addresses = b.slot(x.pointer);
  for (unsigned t = b.begin(); t < b.end(); ++t) {
    if (!b.isActive(t))
      continue;
    uint8_t data[maxBytes];
    for (size_t i = 0; i < x.values.size(); ++i) {
      T value = b.slot(x.values[i])[t];
      std::memcpy(data + i * sizeof(T), &value, sizeof(T));
    }
    if (x.shared)
      b.writeShared(addresses[t], x.bytes, x.alignment, t, x.site, data);
    else
      b.writeGlobal(addresses[t], x.bytes, x.alignment, t, x.site, data);
  }
}

/// Null if the type or the address space cannot be accessed.
static std::optional<Transfer> transferOf(Operation &op, Type type, Value pointer, std::optional<uint64_t> alignment, Compiler &c) {
  llvm::SmallVector<Element> elements;
  unsigned space = addressSpaceOf(pointer);
  if (space == 5 || !flatten(type, elements) || !llvm::all_equal(elements) || !llvm::isPowerOf2_32(elements[0].bytes()) ||
      elements[0].bytes() * elements.size() > maxBytes) {
    c.unsupported(op, "only scalars and vectors of up to 128 bytes in global and shared memory are accessed");
    return std::nullopt;
  }
  unsigned bytes = elements[0].bytes() * elements.size();
  return Transfer{c.slot(pointer), {}, elements[0].bytes(), bytes, unsigned(alignment.value_or(strideOf(type))), space == sharedSpace, c.site(op)};
}

static void compileLoad(Operation &op, Compiler &c) {
  auto access = cast<LLVM::LoadOp>(op);
  std::optional<Transfer> transfer = transferOf(op, access.getType(), access.getAddr(), access.getAlignment(), c);
  if (!transfer)
    return;
  transfer->values = c.define(access.getResult());
  withElement(transfer->elementBytes, [&](auto element) {
    c.step([transfer = *transfer](ThreadBlock &b) {
      count(b, transfer, true);
      load<decltype(element)>(b, transfer);
    });
  });
}

static void compileStore(Operation &op, Compiler &c) {
  auto access = cast<LLVM::StoreOp>(op);
  std::optional<Transfer> transfer = transferOf(op, access.getValue().getType(), access.getAddr(), access.getAlignment(), c);
  if (!transfer)
    return;
  transfer->values = Slots(c.slots(access.getValue()));
  withElement(transfer->elementBytes, [&](auto element) {
    c.step([transfer = *transfer](ThreadBlock &b) {
      count(b, transfer, false);
      store<decltype(element)>(b, transfer);
    });
  });
}

void fla::sim::addAccesses(Compiler::Handlers &handlers) {
  handlers["llvm.getelementptr"] = compileGEP;
  handlers["llvm.mlir.addressof"] = compileAddressOf;
  handlers["llvm.addrspacecast"] = compileCast;
  handlers["llvm.load"] = compileLoad;
  handlers["llvm.store"] = compileStore;
}
