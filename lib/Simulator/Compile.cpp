//===- Compile.cpp - kernels to programs ----------------------------------===//
#include "ThreadBlock.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace fla::sim;

//===----------------------------------------------------------------------===//
// Types
//===----------------------------------------------------------------------===//

static constexpr unsigned sharedSpace = 3;

Element fla::sim::elementOf(Type type) {
  if (auto vector = dyn_cast<VectorType>(type))
    type = vector.getElementType();
  if (type.isF16())
    return {Element::F16, 16};
  if (type.isBF16())
    return {Element::BF16, 16};
  if (type.isF32())
    return {Element::F32, 32};
  if (type.isF64())
    return {Element::F64, 64};
  if (auto pointer = dyn_cast<LLVM::LLVMPointerType>(type))
    return {Element::Int, pointer.getAddressSpace() == sharedSpace ? 32u : 64u};
  if (type.isIndex())
    return {Element::Int, 64};
  if (auto integer = dyn_cast<IntegerType>(type))
    return {Element::Int, integer.getWidth()};
  return {Element::Int, 0};
}

static bool repeat(Type type, int64_t times, llvm::SmallVectorImpl<Element> &elements) {
  for (int64_t i = 0; i < times; ++i)
    if (!flatten(type, elements))
      return false;
  return true;
}

bool fla::sim::flatten(Type type, llvm::SmallVectorImpl<Element> &elements) {
  if (auto vector = dyn_cast<VectorType>(type))
    return !vector.isScalable() && repeat(vector.getElementType(), vector.getNumElements(), elements);
  if (auto array = dyn_cast<LLVM::LLVMArrayType>(type))
    return repeat(array.getElementType(), array.getNumElements(), elements);
  if (auto structure = dyn_cast<LLVM::LLVMStructType>(type))
    return llvm::all_of(structure.getBody(), [&](Type field) { return flatten(field, elements); });
  Element element = elementOf(type);
  elements.push_back(element);
  return element.bits > 0 && element.bits <= 64;
}

static uint64_t alignmentOf(Type type) {
  if (auto array = dyn_cast<LLVM::LLVMArrayType>(type))
    return alignmentOf(array.getElementType());
  if (auto structure = dyn_cast<LLVM::LLVMStructType>(type)) {
    uint64_t most = 1;
    for (Type field : structure.getBody())
      most = std::max(most, structure.isPacked() ? 1 : alignmentOf(field));
    return most;
  }
  return strideOf(type);
}

uint64_t fla::sim::strideOf(Type type) {
  if (auto vector = dyn_cast<VectorType>(type))
    return llvm::PowerOf2Ceil(vector.getNumElements() * elementOf(type).bytes());
  if (auto array = dyn_cast<LLVM::LLVMArrayType>(type))
    return array.getNumElements() * strideOf(array.getElementType());
  if (auto structure = dyn_cast<LLVM::LLVMStructType>(type)) {
    uint64_t bytes = 0;
    for (Type field : structure.getBody())
      bytes = llvm::alignTo(bytes, structure.isPacked() ? 1 : alignmentOf(field)) + strideOf(field);
    return llvm::alignTo(bytes, alignmentOf(type));
  }
  return llvm::PowerOf2Ceil(elementOf(type).bytes());
}

unsigned fla::sim::addressSpaceOf(Value pointer) { return cast<LLVM::LLVMPointerType>(pointer.getType()).getAddressSpace(); }

//===----------------------------------------------------------------------===//
// Locations
//===----------------------------------------------------------------------===//

std::string fla::sim::locationOf(Operation *op) {
  std::string text;
  llvm::raw_string_ostream out(text);
  if (auto file = op->getLoc()->findInstanceOf<FileLineColLoc>())
    out << file.getFilename().getValue() << ":" << file.getLine() << ":" << file.getColumn();
  else
    op->getLoc().print(out);
  if (auto name = op->getLoc()->findInstanceOf<NameLoc>())
    out << " (" << name.getName().getValue() << ")";
  return text;
}

//===----------------------------------------------------------------------===//
// Compiler
//===----------------------------------------------------------------------===//

Compiler::Compiler(Program &program, unsigned lanes) : lanes(lanes), program(program), current(&program.steps) {
  addArith(handlers);
  addMath(handlers);
  addControl(handlers);
  addData(handlers);
  addAccesses(handlers);
  addNVIDIA(handlers);
  addNVIDIAMatrix(handlers);
  addAMD(handlers);
  addAMDMatrix(handlers);
}

void Compiler::layOutShared(Operation *module) {
  if (!module)
    return;
  for (auto global : module->getRegion(0).getOps<LLVM::GlobalOp>()) {
    if (global.getAddrSpace() != sharedSpace)
      continue;
    uint64_t bytes = strideOf(global.getType());
    uint64_t start = llvm::alignTo(program.staticShared, global.getAlignment().value_or(16));
    sharedOffsets[global.getSymName()] = start;
    program.dynamicShared |= bytes == 0;
    program.staticShared = start + bytes;
  }
  // What has no size of its own starts where the others end.
  for (auto global : module->getRegion(0).getOps<LLVM::GlobalOp>())
    if (global.getAddrSpace() == sharedSpace && strideOf(global.getType()) == 0)
      sharedOffsets[global.getSymName()] = program.staticShared = llvm::alignTo(program.staticShared, global.getAlignment().value_or(16));
}

void Compiler::compile(LLVM::LLVMFuncOp kernel) {
  layOutShared(kernel->getParentOp());
  if (kernel.isExternal() || !llvm::hasSingleElement(kernel.getBody()))
    return unsupported(*kernel, "expected a kernel with one block");
  for (BlockArgument argument : kernel.getArguments()) {
    Slots defined = define(argument);
    if (defined.size() != 1)
      return unsupported(*kernel, "expected scalar parameters");
    program.parameters.push_back(defined[0]);
  }
  compileInto(kernel.getBody().front());
}

void Compiler::compileInto(mlir::Block &block) {
  for (Operation &op : block)
    compileOperation(op);
}

Steps Compiler::collect(llvm::function_ref<void()> append) {
  Steps steps;
  Steps *outer = std::exchange(current, &steps);
  append();
  current = outer;
  return steps;
}

void Compiler::compileOperation(Operation &op) {
  if (op.hasTrait<OpTrait::IsTerminator>())
    return;
  auto handler = handlers.find(op.getName().getStringRef());
  if (handler == handlers.end()) {
    unsupported(op, "unknown operation");
  } else {
    handler->second(op, *this);
  }
  for (Value result : op.getResults()) // after an error, so that users have something
    if (!slotsOf.contains(result))
      define(result);
}

llvm::ArrayRef<Slot> Compiler::slots(Value value) {
  auto found = slotsOf.find(value);
  assert(found != slotsOf.end() && "used before its definition");
  return found->second;
}

Slots Compiler::define(Value value) {
  llvm::SmallVector<Element> elements;
  if (!flatten(value.getType(), elements)) {
    Operation *op = value.getDefiningOp() ? value.getDefiningOp() : value.getParentBlock()->getParentOp();
    unsupported(*op, "a value of a type without scalars of at most 64 bits");
  }
  Slots made;
  for (size_t i = 0, count = std::max<size_t>(elements.size(), 1); i < count; ++i)
    made.push_back(fresh());
  slotsOf[value] = made;
  return made;
}

void Compiler::rename(Value value, llvm::ArrayRef<Slot> slots) { slotsOf[value] = Slots(slots); }

Slot Compiler::constant(uint64_t bits) {
  auto [entry, isNew] = constants.try_emplace(bits, 0);
  if (isNew) {
    entry->second = fresh();
    constantValues[entry->second] = bits;
    program.constants.emplace_back(entry->second, bits);
  }
  return entry->second;
}

std::optional<uint64_t> Compiler::constantOf(Slot slot) const {
  auto found = constantValues.find(slot);
  return found == constantValues.end() ? std::nullopt : std::optional(found->second);
}

uint32_t Compiler::site(Operation &op) {
  if (program.sites.empty() || program.sites.back() != &op)
    program.sites.push_back(&op);
  return program.sites.size() - 1;
}

void Compiler::unsupported(Operation &op, const llvm::Twine &what) {
  program.errors.push_back({ErrorKind::Unsupported, locationOf(&op), op.getName().getStringRef().str(), 0, 0, what.str()});
}

std::optional<uint64_t> Compiler::sharedOffset(llvm::StringRef symbol) const {
  auto found = sharedOffsets.find(symbol);
  return found == sharedOffsets.end() ? std::nullopt : std::optional(found->second);
}

static Step copyStep(Slot target, Slot source) {
  return [=](ThreadBlock &b) {
    uint64_t *to = b.slot(target);
    const uint64_t *from = b.slot(source);
    if (b.allActive()) {
      std::copy_n(from, b.threads, to);
      return;
    }
    for (unsigned t = b.begin(); t < b.end(); ++t)
      if (b.isActive(t))
        to[t] = from[t];
  };
}

void Compiler::copy(llvm::ArrayRef<Slot> targets, llvm::ArrayRef<Slot> sources) {
  llvm::DenseMap<Slot, Slot> saved; // targets that are sources elsewhere
  for (auto [target, source] : llvm::zip_equal(targets, sources))
    if (target != source && llvm::is_contained(targets, source) && !saved.contains(source)) {
      saved[source] = fresh();
      step(copyStep(saved[source], source));
    }
  for (auto [target, source] : llvm::zip_equal(targets, sources))
    if (target != source)
      step(copyStep(target, saved.contains(source) ? saved[source] : source));
}
