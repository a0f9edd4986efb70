//===- Simulator.h - GPU kernels on the CPU, every access checked -*- C++ -*-===//
//
// Runs a kernel in device form (structured control flow, arithmetic, addresses
// and the vendor's intrinsics, per lane) for all threads of a block in
// lockstep, operation by operation, block after block. Semantics and fragment
// maps of the intrinsics are written from the vendors' ISA documents and share
// nothing with the compiler's layouts, so that the two check each other.
//
// What one run of a kernel finds, beside wrong numbers:
//
//   shared[tid] = x        kernel without a barrier, 64 threads
//   y = shared[63 - tid]   -> race: thread 0 reads byte 252 of shared memory,
//                             which thread 63 wrote since the last barrier
//
// Races are those of the programming model, not of one machine: two threads
// touch the same byte of shared memory, one of them writes, and no barrier lies
// between. Running in lockstep is no excuse, inside a warp neither: there a
// warp-wide barrier (`nvvm.bar.warp.sync`; on AMD a fence of the wavefront)
// suffices. In global memory, a byte that another block wrote in this launch, or
// another thread of the block since its last barrier, is a race too.
//
// Two threads that store equal values race like any others: what is equal here
// need not be on a device, where a code generator may fuse a product into one of
// two sums that mirror each other, a*b + shuffle(a*b), and round them apart.
//
// Shuffles and matrix operations want all the lanes that they name; matrix
// products keep sums in fp32, one term after the other.
//
//===----------------------------------------------------------------------===//
#ifndef FLA_SIMULATOR_SIMULATOR_H
#define FLA_SIMULATOR_SIMULATOR_H

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/raw_ostream.h"
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace fla::sim {

/// A scalar parameter: an integer, an address that Memory gave, or null (0).
/// A 32-bit float is given by its bits.
struct Argument {
  uint64_t bits = 0;
  Argument(uint64_t bits = 0) : bits(bits) {}
  static Argument integer(int64_t value) { return Argument(static_cast<uint64_t>(value)); }
};

/// Global memory: the host's buffers under addresses of the simulator's own,
/// far enough apart that no access out of bounds meets a neighbour.
class Memory {
public:
  enum Access { ReadOnly, ReadWrite };
  enum Content { Initialised, Uninitialised };

  Memory();
  ~Memory();
  Memory(const Memory &) = delete;
  Memory &operator=(const Memory &) = delete;

  /// Address of `bytes` bytes at `data`, which must outlive the memory. Bytes of
  /// uninitialised buffers may be read once a kernel has written them.
  uint64_t add(void *data, size_t bytes, llvm::StringRef name, Access access = ReadWrite, Content content = Initialised);

  /// How many of the bytes [offset, offset + bytes) of a buffer were ever written.
  size_t countInitialised(uint64_t address, size_t bytes) const;

  struct Buffer;
  /// The buffer that an address belongs to, whether or not it lies inside; null if none.
  Buffer *find(uint64_t address) const;
  /// Forgets who wrote what: the next launch is ordered after this one.
  void launchEnds();

private:
  std::vector<std::unique_ptr<Buffer>> buffers;
};

struct SimulateOptions {
  unsigned lanes = 32;         ///< threads of a warp: 32 or 64
  std::vector<int64_t> blocks; ///< blocks to run; empty: all of the grid
  unsigned hostThreads = 1;    ///< blocks run at once
  bool races = true;           ///< look for races and reads of uninitialised memory
  bool counters = true;        ///< count bank conflicts and sectors
  unsigned banks = 32;         ///< of shared memory, 4 bytes wide each
  unsigned sectorBytes = 32;   ///< granularity of global accesses
  uint64_t operationLimit = 0; ///< thread-operations a block after which it is given up; 0: none
};

enum class ErrorKind {
  OutOfBounds,   ///< an access outside its buffer, or through null
  ReadOnly,      ///< a store to a buffer registered as read-only
  Misaligned,    ///< an address that is no multiple of the access's alignment
  Uninitialised, ///< a read of what nobody wrote
  Race,          ///< accesses of two threads that no barrier orders
  MissingWait,   ///< asynchronous data used before its wait; on AMD, a barrier without its fences
  Divergence,    ///< a barrier or a collective operation that not all its threads reach
  Operand,       ///< an operand that the ISA does not allow
  Limit,         ///< a block that did not come to an end
  Unsupported,   ///< an operation that the simulator does not know
};

/// "out-of-bounds", "race", ...
llvm::StringRef name(ErrorKind kind);

/// The first error of its kind at one operation, and how many there were.
struct Error {
  ErrorKind kind;
  std::string location;  ///< "file:line:column", and "(tile.dot)" where what it was made of has a name
  std::string operation; ///< "llvm.load"
  int64_t block = 0;
  int64_t thread = 0;
  std::string message;
  uint64_t count = 1;
};

/// One operation's accesses to shared memory. A phase is what the banks can
/// serve at once if all lie in different ones: 128 bytes with 32 banks.
struct SharedAccess {
  std::string location;
  std::string operation;
  uint64_t phases = 0; ///< of all warps and executions
  uint64_t cycles = 0; ///< phases times their ways
  unsigned ways = 0;   ///< different words wanted of one bank at once, at worst; 1 is ideal
  bool repeated = false; ///< inside a loop
};

/// One operation's accesses to global memory.
struct GlobalAccess {
  std::string location;
  std::string operation;
  uint64_t requests = 0; ///< of warps
  uint64_t sectors = 0;  ///< touched
  uint64_t minimal = 0;  ///< that the bytes accessed would fill
};

struct Report {
  std::vector<Error> errors;
  std::vector<SharedAccess> shared;
  std::vector<GlobalAccess> global;
  uint64_t operations = 0; ///< executed, times active threads

  bool ok() const { return errors.empty(); }
  uint64_t count(ErrorKind kind) const;
  /// Most ways of a bank conflict among all accesses to shared memory.
  unsigned worstConflict() const;
  /// Errors, then accesses with conflicts of more than `ways` ways or with
  /// more than twice the minimal sectors.
  void print(llvm::raw_ostream &out, unsigned ways = 2) const;
};

/// Runs `gridBlocks` blocks of `threads` threads of `kernel`, whose module holds
/// its globals. `sharedBytes` is the size of dynamic shared memory, used where
/// the module's array in address space 3 has no size of its own. Operations that
/// are not known end up in the report; then nothing runs.
Report simulate(mlir::LLVM::LLVMFuncOp kernel, llvm::ArrayRef<Argument> arguments, int64_t gridBlocks, int64_t threads, int64_t sharedBytes,
                Memory &memory, const SimulateOptions &options = {});

/// The same with the threads and the shared memory that the kernel's attributes
/// `fla.threads` and `fla.shared` tell.
Report simulate(mlir::LLVM::LLVMFuncOp kernel, llvm::ArrayRef<Argument> arguments, int64_t gridBlocks, Memory &memory,
                const SimulateOptions &options = {});

} // namespace fla::sim

#endif // FLA_SIMULATOR_SIMULATOR_H
