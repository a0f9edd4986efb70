//===- Tiles.cpp - what moves elements between threads --------------------===//
#include "Lowering.h"

namespace fla::gpu {

/// What a thread's register adds to the coordinates along some axes.
static Coordinates project(const LinearLayout &layout, int64_t reg, ArrayRef<int64_t> axes) {
  Coordinates all = layout.apply(reg, 0, 0), some;
  for (int64_t axis : axes)
    some.push_back(all[axis]);
  return some;
}

static int64_t registerAt(const LinearLayout &layout, const Coordinates &at) {
  for (int64_t r = 0; r < layout.numRegisters(); ++r)
    if (layout.apply(r, 0, 0) == at)
      return r;
  llvm_unreachable("the layout of a part has the registers of the whole");
}

void Lowering::broadcast(tile::BroadcastOp op) {
  LinearLayout to = layout(op);
  if (!isa<RankedTensorType>(op.getValue().getType()))
    return define(op, Registers(to.numRegisters(), scalar(op.getValue())));
  LinearLayout from = layout(op.getValue());
  ArrayRef<Value> list = registers(op.getValue());
  Registers result;
  for (int64_t r = 0; r < to.numRegisters(); ++r)
    result.push_back(list[registerAt(from, project(to, r, op.getAxes()))]);
  define(op, result);
}

//===----------------------------------------------------------------------===//
// Reductions
//===----------------------------------------------------------------------===//

Value Lowering::combine(tile::ReduceKind kind, Value x, Value y) { return kind == tile::ReduceKind::add ? e.addf(x, y) : e.maxf(x, y); }

/// True for a basis that goes along `axis` alone.
static bool goesAlong(const Coordinates &basis, int64_t axis) { return basis[axis] != 0; }

/// Sums registers, then lanes, then warps (through shared memory, in the order of
/// their numbers in every warp).
Registers Lowering::reduceAxis(tile::ReduceKind kind, const LinearLayout &from, int64_t axis, ArrayRef<Value> list) {
  SmallVector<int64_t> kept;
  for (int64_t i = 0; i < from.rank(); ++i)
    if (i != axis)
      kept.push_back(i);
  LinearLayout to = from.dropAxis(axis).withoutCopies();
  Registers sums(to.numRegisters());
  for (int64_t r = 0; r < from.numRegisters(); ++r) {
    // A second copy of an element does not count twice.
    bool isCopy = false;
    for (int64_t earlier = 0; earlier < r && !isCopy; ++earlier)
      isCopy = from.apply(earlier, 0, 0) == from.apply(r, 0, 0);
    if (isCopy)
      continue;
    Value &sum = sums[kept.empty() ? 0 : registerAt(to, project(from, r, kept))];
    sum = sum ? combine(kind, sum, list[r]) : list[r];
  }
  for (auto [bit, basis] : llvm::enumerate(from.laneBases()))
    if (goesAlong(basis, axis))
      for (Value &sum : sums)
        sum = combine(kind, sum, target.shuffleXor(e, sum, int64_t(1) << bit));
  int64_t mask = 0;
  for (auto [bit, basis] : llvm::enumerate(from.warpBases()))
    if (goesAlong(basis, axis))
      mask |= int64_t(1) << bit;
  if (!mask)
    return sums;
  int64_t lanes = target.chip.lanes, count = sums.size();
  SharedTile partial = shared.allocate({warps, count * lanes}, sums[0].getType(), {});
  shared.beforeWrite();
  auto at = [&](Value ofWarp, int64_t r) {
    Value index = arith::AddIOp::create(e.b, e.loc, arith::MulIOp::create(e.b, e.loc, ofWarp, i32(count * lanes)), lane);
    return shared.address(partial, arith::MulIOp::create(e.b, e.loc, index, i32(4)), r * lanes * 4);
  };
  for (int64_t r = 0; r < count; ++r)
    e.store(sums[r], at(warp, r));
  shared.beforeRead(partial);
  Value others = arith::AndIOp::create(e.b, e.loc, warp, i32(~mask));
  for (int64_t r = 0; r < count; ++r) {
    Value sum;
    for (int64_t part = 0; part <= mask; ++part) {
      if (part & ~mask)
        continue;
      Value x = e.load(at(arith::OrIOp::create(e.b, e.loc, others, i32(part)), r), sums[r].getType(), 1);
      sum = sum ? combine(kind, sum, x) : x;
    }
    sums[r] = sum;
  }
  return sums;
}

void Lowering::reduce(tile::ReduceOp op) { define(op, reduceAxis(op.getKind(), layout(op.getValue()), op.getAxis(), registers(op.getValue()))); }

//===----------------------------------------------------------------------===//
// Through shared memory
//===----------------------------------------------------------------------===//

/// Neighbours in memory that a thread accesses at once, where it has the tile or its transpose.
int64_t Lowering::runOfPieces(const LinearLayout &held, Type element, bool transposed) {
  return std::min<int64_t>(held.contiguous(transposed ? 0 : held.rank() - 1), 16 / Emitter::bytes(element));
}

bool Lowering::writesMatrices(const LinearLayout &held, Type element) {
  return target.storesMatrices(element) && (isMadeOfMatrices(held, 0) || isMadeOfMatrices(held, 1));
}

bool Lowering::readsMatrices(const LinearLayout &held, Type element) {
  return target.loadsMatrices(element) && (isMadeOfMatrices(held, 0) || isMadeOfMatrices(held, 1));
}

void Lowering::addWrites(WarpAccesses &accesses, const LinearLayout &held, Type element, bool transposed) {
  if (writesMatrices(held, element))
    return accesses.addMatrices();
  int64_t run = runOfPieces(held, element, transposed);
  accesses.add(held, run, run * Emitter::bytes(element), /*once=*/true,
               [&](const Coordinates &at) { return transposed ? Coordinates{at[1], at[0]} : at; });
}

WarpAccesses Lowering::gathers(const LinearLayout &held, Type element, WarpAccesses::Place place) {
  WarpAccesses accesses;
  accesses.add(held, 1, Emitter::bytes(element), /*once=*/false, place);
  return accesses;
}

SharedTile Lowering::stage(ArrayRef<Value> list, const LinearLayout &held, Type element, WarpAccesses reads, bool transposed) {
  SmallVector<int64_t> shape(held.shape());
  if (transposed)
    std::swap(shape[0], shape[1]);
  addWrites(reads, held, element, transposed);
  return stagePadded(list, held, element, reads.choosePadding(shape, Emitter::bytes(element)), transposed);
}

/// Writes a tile to shared memory in `element`, its two axes swapped with `transposed`.
SharedTile Lowering::stagePadded(ArrayRef<Value> list, const LinearLayout &held, Type element, Padding padding, bool transposed) {
  SmallVector<int64_t> shape(held.shape());
  if (transposed)
    std::swap(shape[0], shape[1]);
  SharedTile to = shared.allocate(shape, element, padding);
  shared.beforeWrite();
  write(list, held, to, transposed);
  return to;
}

/// `count` registers from `first` on in the element type of a tile in memory.
Value Lowering::packed(ArrayRef<Value> list, int64_t first, int64_t count, Type element) {
  Type from = list[first].getType();
  Value piece = count > 1 ? LLVM::UndefOp::create(e.b, e.loc, Emitter::vec(from, count)).getResult() : list[first];
  for (int64_t i = 0; i < count && count > 1; ++i)
    piece = LLVM::InsertElementOp::create(e.b, e.loc, piece, list[first + i], i32(i));
  if (from.isInteger(1))
    return arith::ExtUIOp::create(e.b, e.loc, Emitter::vec(e.b.getI8Type(), count), piece);
  return from != element ? arith::TruncFOp::create(e.b, e.loc, Emitter::vec(element, count), piece).getResult() : piece;
}

void Lowering::write(ArrayRef<Value> list, const LinearLayout &held, const SharedTile &to, bool transposed) {
  once(held, [&] { writesMatrices(held, to.element) ? writeMatrices(list, held, to, transposed) : writePieces(list, held, to, transposed); });
}

/// A layout made of 8x8 matrices.
void Lowering::writeMatrices(ArrayRef<Value> list, const LinearLayout &held, const SharedTile &to, bool transposed) {
  int64_t size = to.elementBytes(), copies = held.copies().reg;
  auto strideOf = [&](int64_t axis) { return to.stride(transposed ? 1 - axis : axis) * size; };
  SmallVector<int64_t> offsets;
  SmallVector<Value> matrices;
  for (int64_t r = 0; r < held.numRegisters(); r += 2) {
    if (r & copies)
      continue;
    Coordinates at = held.apply(r, 0, 0);
    offsets.push_back(at[0] * strideOf(0) + at[1] * strideOf(1));
    matrices.push_back(LLVM::BitcastOp::create(e.b, e.loc, e.b.getI32Type(), packed(list, r, 2, to.element)));
  }
  int64_t kept = isMadeOfMatrices(held, 0) ? 0 : 1;
  bool swap = strideOf(1 - kept) != size; // neighbours in a thread are rows in memory
  Value start = arith::AddIOp::create(e.b, e.loc, arith::MulIOp::create(e.b, e.loc, warpPart(held, 0), i32(strideOf(0))),
                                      arith::MulIOp::create(e.b, e.loc, warpPart(held, 1), i32(strideOf(1))));
  forMatrices(to, start, swap ? strideOf(1 - kept) : strideOf(kept), offsets, [&](Value address, size_t first, int64_t count) {
    target.storeMatrices(e, address, ArrayRef(matrices).slice(first, count), swap);
  });
}

/// Neighbours along the axis that is last in memory.
void Lowering::writePieces(ArrayRef<Value> list, const LinearLayout &held, const SharedTile &to, bool transposed) {
  int64_t size = to.elementBytes(), copies = held.copies().reg;
  auto strideOf = [&](int64_t axis) { return to.stride(transposed ? 1 - axis : axis) * size; };
  int64_t run = std::min(runOfPieces(held, to.element, transposed), std::max<int64_t>(1, to.alignment() / size));
  for (int64_t r = 0; r < held.numRegisters(); r += run) {
    if (r & copies)
      continue;
    Value offset = i32(0);
    int64_t fixed = 0;
    for (int64_t axis = 0; axis < held.rank(); ++axis) {
      bool disjoint = isDisjoint(held, axis);
      Value part = disjoint ? threadPart(held)[axis] : coordinate(held, r, axis);
      offset = arith::AddIOp::create(e.b, e.loc, offset, arith::MulIOp::create(e.b, e.loc, part, i32(strideOf(axis))));
      fixed += disjoint ? held.apply(r, 0, 0)[axis] * strideOf(axis) : 0;
    }
    LLVM::StoreOp::create(e.b, e.loc, packed(list, r, run, to.element), shared.address(to, offset, fixed), run * size);
  }
}

Registers Lowering::gather(const SharedTile &from, const LinearLayout &held, llvm::function_ref<SmallVector<Value>(ArrayRef<Value>)> index) {
  shared.beforeRead(from);
  Registers list;
  int64_t size = from.elementBytes();
  for (int64_t r = 0; r < held.numRegisters(); ++r) {
    SmallVector<Value> at;
    for (int64_t axis = 0; axis < held.rank(); ++axis)
      at.push_back(coordinate(held, r, axis));
    Value offset = i32(0);
    for (auto [axis, x] : llvm::enumerate(index(at)))
      offset = arith::AddIOp::create(e.b, e.loc, offset, arith::MulIOp::create(e.b, e.loc, x, i32(from.stride(axis) * size)));
    list.push_back(e.load(shared.address(from, offset, 0), from.element, 1));
  }
  return list;
}

Registers Lowering::convert(ArrayRef<Value> list, Type element, const LinearLayout &from, const LinearLayout &to) {
  tile::Conversion plan = tile::planConversion(from, to);
  if (plan.kind == tile::ConversionKind::identity || plan.kind == tile::ConversionKind::registers)
    return llvm::map_to_vector(plan.source, [&](int64_t r) { return list[r]; });
  bool truth = element.isInteger(1);
  Type stored = truth ? Type(e.b.getI8Type()) : element;
  Registers result;
  WarpAccesses reads;
  addReads(reads, to, stored);
  auto isSharedOut = [](const LinearLayout &layout) { return layout.copies().warp == 0 && layout.copies().lane == 0; };
  if (apart && target.synchronisesWarps() && shared.isInLoop() && isSharedOut(from) && isSharedOut(to) && tile::staysInWarp(from, to)) {
    // Each warp has its own part of the room, which nothing else ever takes.
    addWrites(reads, from, stored, /*transposed=*/false);
    SharedTile room = shared.allocateApart(from.shape(), stored, reads.choosePadding(from.shape(), Emitter::bytes(stored)));
    target.warpBarrier(e);
    write(list, from, room, false);
    target.warpBarrier(e);
    result = readRegisters(room, to, stored);
  } else {
    SharedTile room = stage(list, from, stored, reads);
    shared.beforeRead(room);
    result = readRegisters(room, to, stored);
  }
  if (truth)
    for (Value &x : result)
      x = arith::TruncIOp::create(e.b, e.loc, e.b.getI1Type(), x);
  return result;
}

void Lowering::transpose(tile::TransposeOp op) {
  WarpAccesses reads = gathers(layout(op), elementOf(op), [](const Coordinates &at) { return Coordinates{at[1], at[0]}; });
  SharedTile tile = stage(registers(op.getValue()), layout(op.getValue()), elementOf(op), reads);
  define(op, gather(tile, layout(op), [](ArrayRef<Value> at) { return SmallVector<Value>{at[1], at[0]}; }));
}

//===----------------------------------------------------------------------===//
// Slices
//===----------------------------------------------------------------------===//

template <typename Op> static LogicalResult checkSlice(Op op) {
  bool fixed = llvm::none_of(op.getStaticSizes(), ShapedType::isDynamic) && llvm::none_of(op.getStaticStrides(), ShapedType::isDynamic);
  return fixed ? success() : op.emitOpError("expected static sizes and strides in a kernel of a GPU target");
}

LogicalResult Lowering::extractSlice(tensor::ExtractSliceOp op) {
  if (failed(checkSlice(op)))
    return failure();
  SmallVector<Value> starts;
  unsigned next = 0;
  for (int64_t start : op.getStaticOffsets())
    starts.push_back(ShapedType::isDynamic(start) ? arith::TruncIOp::create(e.b, e.loc, e.b.getI32Type(), scalar(op.getOffsets()[next++])).getResult()
                                                  : i32(start));
  auto dropped = op.getDroppedDims();
  WarpAccesses reads = gathers(layout(op), elementOf(op), [&](const Coordinates &at) {
    Coordinates from; // but for where the slice starts
    unsigned axis = 0;
    for (size_t i = 0; i < starts.size(); ++i)
      from.push_back(dropped[i] ? 0 : at[axis++] * op.getStaticStrides()[i]);
    return from;
  });
  SharedTile tile = stage(registers(op.getSource()), layout(op.getSource()), elementOf(op), reads);
  define(op, gather(tile, layout(op), [&](ArrayRef<Value> at) {
           SmallVector<Value> from;
           unsigned axis = 0;
           for (auto [i, start] : llvm::enumerate(starts)) {
             Value x = start;
             if (!dropped[i])
               x = arith::AddIOp::create(e.b, e.loc, x, arith::MulIOp::create(e.b, e.loc, at[axis++], i32(op.getStaticStrides()[i])));
             from.push_back(x);
           }
           return from;
         }));
  return success();
}

LogicalResult Lowering::insertSlice(tensor::InsertSliceOp op) {
  if (failed(checkSlice(op)))
    return failure();
  // Both tiles in shared memory; each element of the result reads one of them.
  auto part = cast<RankedTensorType>(op.getSource().getType());
  if (part.getRank() != op.getType().getRank())
    return op.emitOpError("expected tiles of one rank in a kernel of a GPU target");
  LinearLayout held = layout(op);
  WarpAccesses reads = gathers(held, elementOf(op), [&](const Coordinates &at) {
    Coordinates from; // as if the part began at the first element
    for (auto [axis, x] : llvm::enumerate(at)) {
      int64_t stride = op.getStaticStrides()[axis], number = x / stride;
      from.push_back(x % stride == 0 && number < part.getDimSize(axis) ? number : 0);
    }
    return from;
  });
  SharedTile from = stage(registers(op.getSource()), layout(op.getSource()), elementOf(op), reads);
  ArrayRef<Value> whole = registers(op.getDest());
  SmallVector<Value> starts;
  unsigned next = 0;
  for (int64_t start : op.getStaticOffsets())
    starts.push_back(ShapedType::isDynamic(start) ? arith::TruncIOp::create(e.b, e.loc, e.b.getI32Type(), scalar(op.getOffsets()[next++])).getResult()
                                                  : i32(start));
  SmallVector<Value> inside;
  Registers inner = gather(from, held, [&](ArrayRef<Value> at) {
    SmallVector<Value> index;
    Value all;
    for (auto [axis, x] : llvm::enumerate(at)) {
      int64_t stride = op.getStaticStrides()[axis], size = part.getDimSize(axis);
      Value relative = arith::SubIOp::create(e.b, e.loc, x, starts[axis]);
      Value number = arith::DivSIOp::create(e.b, e.loc, relative, i32(stride));
      Value exact = e.cmp(arith::CmpIPredicate::eq, arith::MulIOp::create(e.b, e.loc, number, i32(stride)), relative);
      Value within = arith::AndIOp::create(e.b, e.loc, exact, e.cmp(arith::CmpIPredicate::ult, number, i32(size)));
      all = all ? arith::AndIOp::create(e.b, e.loc, all, within).getResult() : within;
      index.push_back(e.select(within, number, i32(0)));
    }
    inside.push_back(all);
    return index;
  });
  Registers list;
  for (auto [r, x] : llvm::enumerate(inner))
    list.push_back(e.select(inside[r], x, whole[r]));
  define(op, list);
  return success();
}

void Lowering::concat(tensor::ConcatOp op) {
  LinearLayout held = layout(op);
  int64_t axis = op.getDim(), start = 0;
  Registers list;
  for (Value input : op.getInputs()) {
    int64_t size = cast<RankedTensorType>(input.getType()).getDimSize(axis);
    WarpAccesses reads = gathers(held, elementOf(op), [&](Coordinates at) {
      at[axis] = std::clamp<int64_t>(at[axis] - start, 0, size - 1);
      return at;
    });
    SharedTile tile = stage(registers(input), layout(input), elementOf(op), reads);
    SmallVector<Value> inside;
    Registers part = gather(tile, held, [&](ArrayRef<Value> at) {
      SmallVector<Value> index(at);
      Value relative = arith::SubIOp::create(e.b, e.loc, at[axis], i32(start));
      inside.push_back(e.cmp(arith::CmpIPredicate::ult, relative, i32(size)));
      index[axis] = e.select(inside.back(), relative, i32(0));
      return index;
    });
    for (int64_t r = 0; r < held.numRegisters(); ++r)
      start ? void(list[r] = e.select(inside[r], part[r], list[r])) : list.push_back(part[r]);
    start += size;
  }
  define(op, list);
}

int64_t numberOf(const Coordinates &at, ArrayRef<int64_t> shape) {
  int64_t number = 0;
  for (auto [x, size] : llvm::zip_equal(at, shape))
    number = number * size + x;
  return number;
}

Coordinates placeOf(int64_t number, ArrayRef<int64_t> shape) {
  Coordinates at(shape.size(), 0);
  for (int64_t axis = shape.size() - 1; axis >= 0; --axis) {
    at[axis] = number % shape[axis];
    number /= shape[axis];
  }
  return at;
}

/// The same elements in row-major order under another shape.
void Lowering::reshape(Value source, Value to) {
  ArrayRef<int64_t> from = cast<RankedTensorType>(source.getType()).getShape();
  LinearLayout held = layout(to);
  WarpAccesses reads = gathers(held, elementOf(to), [&](const Coordinates &at) { return placeOf(numberOf(at, held.shape()), from); });
  SharedTile tile = stage(registers(source), layout(source), elementOf(to), reads);
  define(to, gather(tile, held, [&](ArrayRef<Value> at) {
           Value flat = i32(0);
           for (auto [axis, x] : llvm::enumerate(at))
             flat = arith::AddIOp::create(e.b, e.loc, arith::MulIOp::create(e.b, e.loc, flat, i32(held.shape()[axis])), x);
           SmallVector<Value> index(from.size());
           for (int64_t axis = from.size() - 1; axis >= 0; --axis) {
             index[axis] = arith::RemUIOp::create(e.b, e.loc, flat, i32(from[axis]));
             flat = arith::DivUIOp::create(e.b, e.loc, flat, i32(from[axis]));
           }
           return index;
         }));
}

void Lowering::extract(tensor::ExtractOp op) {
  SharedTile tile = stage(registers(op.getTensor()), layout(op.getTensor()), elementOf(op), {}); // all threads read one element
  shared.beforeRead(tile);
  Value offset = i32(0);
  for (auto [axis, x] : llvm::enumerate(op.getIndices())) {
    Value index = arith::TruncIOp::create(e.b, e.loc, e.b.getI32Type(), scalar(x));
    offset = arith::AddIOp::create(e.b, e.loc, offset, arith::MulIOp::create(e.b, e.loc, index, i32(tile.stride(axis) * tile.elementBytes())));
  }
  define(op, {e.load(shared.address(tile, offset, 0), tile.element, 1)});
}

void Lowering::fromElements(tensor::FromElementsOp op) {
  LinearLayout held = layout(op);
  Registers list;
  for (int64_t r = 0; r < held.numRegisters(); ++r) {
    Value flat = i32(0), chosen = scalar(op.getElements().front());
    for (int64_t axis = 0; axis < held.rank(); ++axis)
      flat = arith::AddIOp::create(e.b, e.loc, arith::MulIOp::create(e.b, e.loc, flat, i32(held.shape()[axis])), coordinate(held, r, axis));
    for (auto [i, x] : llvm::enumerate(op.getElements()))
      if (i)
        chosen = e.select(e.cmp(arith::CmpIPredicate::eq, flat, i32(i)), scalar(x), chosen);
    list.push_back(chosen);
  }
  define(op, list);
}

} // namespace fla::gpu
