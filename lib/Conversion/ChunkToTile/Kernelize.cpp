//===- Kernelize.cpp - chunk programs into tile kernels -------------------===//
//
//   chunk.program @f tokens(%q : ..) carries(%S : ..) -> (o, S, S) { ... }
//   ==> dims=K:128,V:128
//   tile.kernel @f(%q: !tile.buffer<token, 128xf32>, %initial_S: .., out %o: .., out %final_S: ..) {
//     %S = tile.load %initial_S
//     scf.for %c = %c0 to tile.num_chunks iter_args(%S) { tile.load %q[%c] ... tile.store %o[%c] }
//     tile.store %final_S
//   }
//
// For examples see test/Conversion/ChunkToTile/kernelize.mlir.
//===----------------------------------------------------------------------===//
#include "KernelBuilder.h"
#include "Sizes.h"
#include "fla/Conversion/ChunkToTile/Passes.h"

using namespace mlir;
using namespace fla;

namespace fla {
#define GEN_PASS_DEF_KERNELIZE
#include "fla/Conversion/ChunkToTile/Passes.h.inc"
} // namespace fla

/// Outputs are stored as the definition's first per-token argument is.
static StringRef firstInput(ArrayRef<chunk::ProgramOp> programs) {
  for (chunk::ProgramOp program : programs)
    if (auto name = program->getAttrOfType<StringAttr>("outputs_like"))
      return name.getValue();
  return programs.empty() ? StringRef() : chunk::ProgramOp(programs.front()).getArgName(0);
}

static Links findLinks(ArrayRef<chunk::ProgramOp> programs) {
  Links links;
  llvm::StringSet<> given;
  for (chunk::ProgramOp program : programs) {
    for (StringRef name : program.getResultNames().getAsValueRange<StringAttr>())
      if (program.getReverse() && !given.insert(gradientOf(name)).second)
        links.pieces.insert(gradientOf(name));
    for (BlockArgument arg : program.getTokens()) {
      unsigned i = arg.getArgNumber();
      links.read.insert(program.getArgName(i));
      if (program.getArgAttr(i).contains("temp"))
        links.temps.insert(program.getArgName(i));
    }
  }
  return links;
}

//===----------------------------------------------------------------------===//
// The pass
//===----------------------------------------------------------------------===//

static Type parseStorageType(MLIRContext *context, StringRef name) {
  return llvm::StringSwitch<Type>(name)
      .Case("f64", Float64Type::get(context))
      .Case("f32", Float32Type::get(context))
      .Case("f16", Float16Type::get(context))
      .Case("bf16", BFloat16Type::get(context))
      .Default({});
}

namespace {
struct Kernelize : fla::impl::KernelizeBase<Kernelize> {
  using KernelizeBase::KernelizeBase;

  void runOnOperation() override {
    llvm::StringMap<int64_t> given;
    StorageTypes storage;
    if (failed(readOptions(given, storage)))
      return signalPassFailure();
    SmallVector<chunk::ProgramOp> programs(getOperation().getOps<chunk::ProgramOp>());
    TileSizes sizes;
    sizes.computeType = computeType(storage);
    for (chunk::ProgramOp program : programs)
      if (failed(chunk::chooseSizes(program, given, sizes.dims)))
        return signalPassFailure();
    Links links = findLinks(programs);
    links.outputType = storage.of(firstInput(programs));
    links.narrow = shared; // on a GPU a conversion is a kernel, and memory's rate the limit; a CPU keeps the digits
    Budget budget{shared, links.outputType.isF32() ? 4 : 2};
    sizes.chunk = chunk ? chunk.getValue() : commonChunk(programs, sizes, budget);
    for (chunk::ProgramOp program : programs)
      if (failed(kernelize(program, sizesOf(program, programs, sizes, budget, links), storage, links)))
        return signalPassFailure();
    for (chunk::ProgramOp program : programs)
      program.erase();
  }

  /// Both directions of a definition share the chunk: saved states belong to chunks.
  int64_t commonChunk(ArrayRef<chunk::ProgramOp> programs, const TileSizes &sizes, const Budget &budget) {
    bool alone = !saveStates && llvm::none_of(programs, [](chunk::ProgramOp p) { return p.getReverse(); });
    int64_t common = 64;
    // Without states a chunk is rows that a core takes at once, nothing else.
    bool isFree = llvm::all_of(programs, [](chunk::ProgramOp p) { return p.getNumCarries() == 0; });
    for (chunk::ProgramOp program : programs) {
      if (isFree) {
        common = std::min(common, chooseFreeChunk(program, sizes, budget, {}));
        continue;
      }
      TileSizes own = budget.isGPU() ? cutIntoBlocks(program, programs, blocks, budget, sizes) : sizes;
      common = std::min(common, chooseChunk(program, own, budget, alone));
    }
    return common;
  }

  /// A program with states gets blocks; one without chooses its own chunk on a GPU.
  TileSizes sizesOf(chunk::ProgramOp program, ArrayRef<chunk::ProgramOp> programs, TileSizes sizes, const Budget &budget, const Links &links) {
    if (program.getNumCarries())
      return cutIntoBlocks(program, programs, blocks, budget, sizes);
    if (budget.isGPU() && sizes.chunk > 1)
      sizes.chunk = std::min(sizes.chunk, chooseFreeChunk(program, sizes, budget, links.shares));
    return sizes;
  }

  LogicalResult kernelize(chunk::ProgramOp program, const TileSizes &sizes, const StorageTypes &storage, Links &links) {
    Purpose purpose = program.getReverse() ? Purpose::Run : saveStates ? Purpose::RunAndSave : Purpose::Run;
    if (program->hasAttr("replay"))
      purpose = Purpose::Replay;
    bool isIdle = purpose == Purpose::Replay && program.getNumCarries() == 0 &&
                  llvm::none_of(program.getResultNames().getAsValueRange<StringAttr>(), [&](StringRef name) { return links.read.contains(name); });
    if (isIdle)
      return success();
    return KernelBuilder(program, sizes, storage, links, purpose).build(program.getSymName() + (purpose == Purpose::Replay ? "_replay" : ""));
  }

  LogicalResult readOptions(llvm::StringMap<int64_t> &given, StorageTypes &storage) {
    for (StringRef entry : dims) {
      auto [name, number] = entry.split(':');
      int64_t size;
      if (number.getAsInteger(10, size))
        return getOperation().emitError() << "expected dims as NAME:SIZE, got '" << entry << "'";
      given[name] = size;
    }
    auto type = [&](StringRef name) -> Type {
      Type result = parseStorageType(&getContext(), name);
      if (!result)
        getOperation().emitError() << "expected a storage type f64, f32, bf16 or f16, got '" << name << "'";
      return result;
    };
    if (!(storage.standard = type(dtype)))
      return failure();
    for (StringRef entry : dtypes) {
      auto [name, typeName] = entry.split(':');
      if (!(storage.single[name] = type(typeName)))
        return failure();
    }
    if (chunk < 0 || (chunk > 0 && !llvm::isPowerOf2_64(chunk)))
      return getOperation().emitError() << "expected chunk size to be a power of two, got " << chunk.getValue();
    return success();
  }

  /// f64 if any input is, else f32.
  Type computeType(const StorageTypes &storage) {
    bool wide = storage.standard.isF64() || llvm::any_of(storage.single, [](auto &entry) { return entry.second.isF64(); });
    return wide ? Type(Float64Type::get(&getContext())) : Type(Float32Type::get(&getContext()));
  }
};
} // namespace
