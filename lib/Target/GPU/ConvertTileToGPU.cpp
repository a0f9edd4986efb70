//===- ConvertTileToGPU.cpp - kernels to functions of a GPU ---------------===//
//
// In:  tile.kernel, a layout on every tensor
// Out: llvm.func of scalars, one thread's work: scf, arith, memory operations and
//      the intrinsics of the vendor's dialect
//
//===----------------------------------------------------------------------===//
#include "Lowering.h"
#include "fla/Target/GPU/GPU.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/LLVMIR/ROCDLDialect.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

namespace fla {
#define GEN_PASS_DEF_CONVERTTILETOGPU
#include "fla/Target/GPU/Passes.h.inc"
} // namespace fla

namespace fla::gpu {

/// The parameters of Grid.cpp.
static LLVM::LLVMFunctionType functionType(tile::KernelOp kernel) {
  MLIRContext *context = kernel.getContext();
  Type pointer = LLVM::LLVMPointerType::get(context, 1), i64 = IntegerType::get(context, 64);
  SmallVector<Type> types;
  for (unsigned i = 0; i < kernel.getBody().getNumArguments(); ++i)
    types.append({pointer, i64, i64, i64, i64});
  types.append({i64, i64, i64, pointer, pointer, i64});
  return LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(context), types);
}

/// The most registers of tiles that a thread holds at once: each from where it is made to its last use.
static int64_t registersOfTiles(tile::KernelOp kernel) {
  // All chunks of a grid point do the same.
  auto loops = kernel.getBody().front().getOps<scf::ForOp>();
  Block &body = loops.empty() ? kernel.getBody().front() : *(*loops.begin()).getBody();
  DenseMap<Operation *, SmallVector<int64_t>> ends;
  int64_t alive = 0, most = 0;
  for (Operation &op : body) {
    for (Value result : op.getResults()) {
      auto type = dyn_cast<RankedTensorType>(result.getType());
      auto layout = tile::layoutOf(result.getType());
      if (!type || !layout || type.getElementType().isInteger(1) || isa<tile::ReadOp>(op) || result.use_empty())
        continue;
      Operation *last = nullptr;
      for (Operation *user : result.getUsers())
        if (Operation *here = body.findAncestorOpInBlock(*user); !last || last->isBeforeInBlock(here))
          last = here;
      alive += layout->numRegisters();
      ends[last].push_back(layout->numRegisters());
    }
    most = std::max(most, alive);
    for (int64_t count : ends.lookup(&op))
      alive -= count;
  }
  return most;
}

/// Blocks that should share a unit. Those of a kernel over chunks have little to do each and
/// wait for memory first: others then work. Addresses and what products load take registers, too.
static int64_t residentBlocksOf(tile::KernelOp kernel, const Chip &chip, int64_t threads) {
  if (!kernel.getOverChunks())
    return 1;
  int64_t other = kernel.getBody().front().getOps<scf::ForOp>().empty() ? 32 : 64;
  int64_t registers = llvm::alignTo(registersOfTiles(kernel) + other, chip.registerGranule);
  return std::clamp<int64_t>(chip.unitRegisters / (threads * registers), 1, 4);
}

//===----------------------------------------------------------------------===//
// Room
//===----------------------------------------------------------------------===//

static int64_t bytesOf(tile::AllocOp room) {
  tile::SharedType type = room.getType();
  int64_t elements = type.getStages();
  for (int64_t size : type.getShape())
    elements *= size;
  return elements * type.getElementType().getIntOrFloatBitWidth() / 8;
}

/// What was copied to a room is loaded where it is read.
static void loadInstead(tile::AllocOp room) {
  SmallVector<tile::CopyOp> copies;
  SmallVector<tile::ReadOp> reads;
  for (Operation *user : room->getUsers())
    if (auto copy = dyn_cast<tile::CopyOp>(user))
      copies.push_back(copy);
    else
      reads.push_back(cast<tile::ReadOp>(user));
  for (tile::ReadOp read : reads) {
    tile::CopyOp copy = copies.front();
    // A loop that copies ahead reads the chunk whose number chooses the stage.
    auto stage = read.getStage().getDefiningOp<arith::RemUIOp>();
    Value chunk = stage ? stage.getLhs() : copy.getChunk();
    OpBuilder b(read);
    auto load = tile::LoadOp::create(b, read.getLoc(), read.getType(), copy.getBuffer(), chunk, copy.getAbsentAttr());
    read.replaceAllUsesWith(load.getResult());
    read.erase();
  }
  for (tile::CopyOp copy : copies)
    copy.erase();
  room.erase();
}

/// Gives up the smallest room whose bytes suffice, or else the largest; false if there is none.
static bool giveUpRoom(tile::KernelOp kernel, int64_t missing) {
  tile::AllocOp best;
  kernel.walk([&](tile::AllocOp room) {
    int64_t size = bytesOf(room), least = best ? bytesOf(best) : 0;
    if (!best || (size >= missing ? least < missing || size < least : least < missing && size > least))
      best = room;
  });
  if (!best)
    return false;
  loadInstead(best);
  bool copies = kernel.walk([](tile::CopyOp) { return WalkResult::interrupt(); }).wasInterrupted();
  if (!copies)
    kernel.walk([](tile::WaitOp wait) { wait.erase(); });
  return true;
}

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

static LogicalResult lowerKernel(tile::KernelOp kernel, const Target &target, int64_t warps, Operands operands) {
  if (auto own = kernel->getAttrOfType<IntegerAttr>("warps"))
    warps = own.getInt();
  OpBuilder b(kernel);
  LLVM::LLVMFuncOp function;
  int64_t shared = 0;
  auto lower = [&](bool reuse, bool apart = true) {
    if (function)
      function.erase();
    b.setInsertionPoint(kernel);
    function = LLVM::LLVMFuncOp::create(b, kernel.getLoc(), kernel.getSymName(), functionType(kernel));
    Lowering lowering(kernel, function, target, warps, operands, b);
    LogicalResult lowered = lowering.run(reuse, apart);
    shared = lowering.sharedBytes();
    return lowered;
  };
  auto fits = [&] { return shared <= target.chip.sharedBytes; };
  do { // Where operands that wait for their next use do not fit, they are written again; then less is copied ahead.
    if (failed(lower(/*reuse=*/true)) || (!fits() && failed(lower(/*reuse=*/false))))
      return failure();
  } while (!fits() && giveUpRoom(kernel, shared - target.chip.sharedBytes));
  if (!fits() && failed(lower(/*reuse=*/false, /*apart=*/false)))
    return failure();
  if (!fits())
    return kernel.emitError() << "expected at most " << target.chip.sharedBytes << " bytes of shared memory on " << target.chip.name << ", got "
                              << shared << "; a smaller chunk or smaller dimensions need less";
  auto number = [&](int64_t value) { return b.getI64IntegerAttr(value); };
  int64_t resident = residentBlocksOf(kernel, target.chip, warps * target.chip.lanes);
  while (resident > 1 && resident * (shared + target.chip.blockSharedReserve) > target.chip.unitSharedBytes)
    --resident;
  function->setAttr("fla.resident", number(resident));
  function->setAttr("fla.gpu_kernel", b.getUnitAttr());
  function->setAttr("fla.threads", number(warps * target.chip.lanes));
  function->setAttr("fla.shared", number(shared));
  function->setAttr("fla.chunk", number(kernel.getChunk() * kernel.getSpan())); // of a grid point
  function->setAttr("fla.blocks", kernel.getBlocksAttr());
  if (kernel.getOverChunks())
    function->setAttr("fla.over_chunks", b.getUnitAttr());
  kernel.erase();
  return success();
}

/// Shared memory of the module: on NVIDIA its size comes with the launch.
static void declareShared(ModuleOp module, const Chip &chip) {
  int64_t bytes = 0;
  module.walk([&](LLVM::LLVMFuncOp function) {
    if (auto shared = function->getAttrOfType<IntegerAttr>("fla.shared"))
      bytes = std::max(bytes, shared.getInt());
  });
  OpBuilder b = OpBuilder::atBlockBegin(module.getBody());
  bool dynamic = chip.vendor == Vendor::NVIDIA;
  auto type = LLVM::LLVMArrayType::get(b.getI8Type(), dynamic ? 0 : bytes);
  LLVM::GlobalOp::create(b, module.getLoc(), type, /*isConstant=*/false, dynamic ? LLVM::Linkage::External : LLVM::Linkage::Internal, "fla_shared",
                         dynamic ? Attribute() : Attribute(LLVM::UndefAttr::get(b.getContext())), /*alignment=*/1024, /*addrSpace=*/3);
}

namespace {
struct ConvertTileToGPU : impl::ConvertTileToGPUBase<ConvertTileToGPU> {
  using ConvertTileToGPUBase::ConvertTileToGPUBase;

  void getDependentDialects(DialectRegistry &registry) const override {
    registry.insert<LLVM::LLVMDialect, NVVM::NVVMDialect, ROCDL::ROCDLDialect, arith::ArithDialect, scf::SCFDialect, math::MathDialect,
                    vector::VectorDialect>();
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    const Chip *found = findChip(chip);
    if (!found) {
      module.emitError() << "expected a chip (" << chipNames() << "), got '" << chip << "'";
      return signalPassFailure();
    }
    auto operands = readOperands(module);
    if (failed(operands))
      return signalPassFailure();
    std::unique_ptr<Target> target = createTarget(*found, &getContext());
    for (auto kernel : llvm::make_early_inc_range(module.getOps<tile::KernelOp>()))
      if (failed(lowerKernel(kernel, *target, warps, *operands)))
        return signalPassFailure();
    declareShared(module, *found);
  }

  FailureOr<Operands> readOperands(ModuleOp module) {
    Builder b(&getContext());
    std::string multiply = this->multiply.empty() ? operandsOf(module) : this->multiply.getValue();
    Type type = llvm::StringSwitch<Type>(multiply)
                    .Case("bf16", b.getBF16Type())
                    .Case("f16", b.getF16Type())
                    .Cases({"f32", "tf32"}, b.getF32Type())
                    .Default(Type());
    if (!type)
      return module.emitError() << "expected bf16, f16, tf32 or f32 as the operands of products, got '" << multiply << "'", failure();
    return Operands{type, multiply == "f32"};
  }
};
} // namespace

AtomTexts atomOf(const Chip &chip, StringRef multiply, MLIRContext *context) {
  Builder b(context);
  Type type = multiply == "bf16" ? b.getBF16Type() : multiply == "f16" ? b.getF16Type() : Type(b.getF32Type());
  auto atom = createTarget(chip, context)->atom(type, multiply == "f32");
  if (!atom)
    return {};
  auto print = [&](const tile::LinearLayout &layout) {
    std::string text;
    llvm::raw_string_ostream(text) << layout.shape()[0] << "x" << layout.shape()[1] << " " << tile::LayoutAttr::get(context, layout);
    return text;
  };
  return {print(atom->c), print(atom->a), print(atom->b)};
}

} // namespace fla::gpu
