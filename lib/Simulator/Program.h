//===- Program.h - a kernel made ready to run -------------------*- C++ -*-===//
//
// Every scalar of the kernel (an element of a vector or of a struct counts as
// one) has a slot: 64 bits for each thread. Operations that only rename scalars
// cost nothing; each of the others becomes a step, a closure that computes its
// slots for all threads. Structured control flow becomes steps that hold steps.
//
//   %v = llvm.load %p : !llvm.ptr<1> -> vector<2xf32>    slots 4, 5: one step
//   %a = llvm.extractelement %v[%c1] : vector<2xf32>     slot 5: no step
//   %b = arith.mulf %a, %a : f32                         slot 6: one step
//
// Pure steps compute for threads that are not active too (nobody reads what
// they get); whatever touches memory or other threads looks at the mask.
//
//===----------------------------------------------------------------------===//
#ifndef FLA_LIB_SIMULATOR_PROGRAM_H
#define FLA_LIB_SIMULATOR_PROGRAM_H

#include "Numbers.h"
#include "fla/Simulator/Simulator.h"

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringMap.h"
#include <functional>
#include <map>
#include <optional>

namespace fla::sim {

class ThreadBlock;

using Slot = uint32_t;
using Slots = llvm::SmallVector<Slot, 4>;
using Step = std::function<void(ThreadBlock &)>;
using Steps = std::vector<Step>;

/// The format of one scalar.
struct Element {
  enum Kind { Int, F16, BF16, F32, F64 } kind;
  unsigned bits;
  unsigned bytes() const { return (bits + 7) / 8; }
  bool operator==(const Element &) const = default;
};

/// Appends the scalars of a type, in memory order; false if it has others.
bool flatten(mlir::Type type, llvm::SmallVectorImpl<Element> &elements);
/// The format of a scalar's or a vector's elements.
Element elementOf(mlir::Type type);
/// Bytes from one object of the type to the next in memory.
uint64_t strideOf(mlir::Type type);
/// Address space of a pointer.
unsigned addressSpaceOf(mlir::Value pointer);

struct Program {
  Steps steps;
  uint32_t slots = 0;
  std::vector<std::pair<Slot, uint64_t>> constants;
  llvm::SmallVector<Slot> parameters;
  std::vector<mlir::Operation *> sites; ///< operations that may report something
  size_t staticShared = 0;              ///< bytes of the module's shared arrays
  bool dynamicShared = false;           ///< an array without a size follows them
  std::vector<Error> errors;            ///< operations that are not known
};

/// "file:line:column" of an operation.
std::string locationOf(mlir::Operation *op);

/// Makes a program of a kernel.
class Compiler {
public:
  using Handler = void (*)(mlir::Operation &, Compiler &);
  using Handlers = llvm::StringMap<Handler>;

  explicit Compiler(Program &program, unsigned lanes);
  void compile(mlir::LLVM::LLVMFuncOp kernel);

  /// Appends the steps of a block's operations, without its terminator.
  void compileInto(mlir::Block &block);
  /// The steps that a function appends.
  Steps collect(llvm::function_ref<void()> append);

  llvm::ArrayRef<Slot> slots(mlir::Value value);
  Slot slot(mlir::Value value) { return slots(value)[0]; }
  /// New slots for all scalars of a value.
  Slots define(mlir::Value value);
  /// The value's scalars are those in the given slots.
  void rename(mlir::Value value, llvm::ArrayRef<Slot> slots);
  Slot fresh() { return program.slots++; }
  Slot constant(uint64_t bits);
  std::optional<uint64_t> constantOf(Slot slot) const;
  std::optional<uint64_t> constantOf(mlir::Value value) { return constantOf(slot(value)); }

  void step(Step step) { current->push_back(std::move(step)); }
  /// Steps that give targets the values of sources, in active threads, as if all at once.
  void copy(llvm::ArrayRef<Slot> targets, llvm::ArrayRef<Slot> sources);
  uint32_t site(mlir::Operation &op);
  void unsupported(mlir::Operation &op, const llvm::Twine &what);

  /// target = f(a), or of more: for all threads.
  template <class F> void map(Slot target, Slot a, F f);
  template <class F> void map(Slot target, Slot a, Slot b, F f);
  template <class F> void map(Slot target, Slot a, Slot b, Slot c, F f);

  /// Offset of a global in shared memory.
  std::optional<uint64_t> sharedOffset(llvm::StringRef symbol) const;

  const unsigned lanes;

private:
  void compileOperation(mlir::Operation &op);
  void layOutShared(mlir::Operation *module);

  Program &program;
  Steps *current;
  Handlers handlers;
  llvm::DenseMap<mlir::Value, Slots> slotsOf;
  std::map<uint64_t, Slot> constants;
  llvm::DenseMap<Slot, uint64_t> constantValues;
  llvm::StringMap<uint64_t> sharedOffsets;
};

/// The operations that the simulator knows, a function a file.
void addArith(Compiler::Handlers &handlers);
void addControl(Compiler::Handlers &handlers);
void addData(Compiler::Handlers &handlers);
void addMath(Compiler::Handlers &handlers);
void addAccesses(Compiler::Handlers &handlers);
void addNVIDIA(Compiler::Handlers &handlers);
void addNVIDIAMatrix(Compiler::Handlers &handlers);
void addAMD(Compiler::Handlers &handlers);
void addAMDMatrix(Compiler::Handlers &handlers);

} // namespace fla::sim

#endif // FLA_LIB_SIMULATOR_PROGRAM_H
