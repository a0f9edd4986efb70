//===- Passes.td - passes on the tile dialect ---------------*- tablegen -*-===//
#ifndef FLA_DIALECT_TILE_TRANSFORMS_PASSES_TD
#define FLA_DIALECT_TILE_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

def SimplifyTiles : Pass<"fla-simplify-tiles", "::mlir::ModuleOp"> {
  let summary = "Leaves less work for the same tiles";
  let description = [{
    Runs canonicalisation, common subexpressions and loop-invariant code motion
    over kernels, so that what depends on parameters alone (a constant decay's
    table) is computed once a head. A sum with a product that nothing else reads
    becomes the product's `init`, and a mask of rows past the sequence goes where
    they are loaded, since they load as zero.
    Example: test/Dialect/Tile/Transforms/simplify-tiles.mlir.
  }];
  let dependentDialects = ["::fla::tile::TileDialect"];
}

def FormSteps : Pass<"fla-form-steps", "::mlir::ModuleOp"> {
  let summary = "Turns kernels of one token a chunk into the token's step";
  let description = [{
    In a kernel whose chunk is one token axes of size 1 go, and with them all that
    relates tokens: products with such an axis become multiplications and sums, segment
    sums, inverses, running sums and masks become numbers, scans elementwise work. What
    is left is the recurrence: a state that is loaded once, updated token by token and
    stored once, and vectors.
    Example: test/Dialect/Tile/Transforms/form-steps.mlir.
  }];
  let dependentDialects = ["::fla::tile::TileDialect"];
}

def HoistScales : Pass<"fla-hoist-scales", "::mlir::ModuleOp"> {
  let summary = "Moves factors of a product's operands behind the product";
  let description = [{
    For targets whose products take operands best as they were loaded. A factor that
    is one number a row of the result, one a column or one for all scales the product
    in place of its operand, if that leaves what was loaded, or costs no more. Masks
    of rows past the end of the sequence go where a factor is loaded as zero there.
    Example: test/Dialect/Tile/Transforms/hoist-scales.mlir.
  }];
  let dependentDialects = ["::fla::tile::TileDialect", "::mlir::arith::ArithDialect"];
}

def FissionLeaves : Pass<"fla-fission-leaves", "::mlir::ModuleOp"> {
  let summary = "Moves what nothing carried depends on out of the loop over chunks, into a kernel after it";
  let description = [{
    The gradients of a chunk need the gradient of the state after it, and nothing
    needs them: they are leaves. A kernel `<name>_after`, whose grid runs over the chunks as
    well, computes them for all chunks at once. The loop keeps what the carried
    values depend on and stores for the other kernel, in buffers of kind `saved` and
    role `temp`, what is carried into each chunk and results that leaves read; elementwise
    arithmetic, products with what is carried and what depends on the chunk alone are done again. Those
    operations and their copies bear a number (`fla.twin`), by which
    `fla-fission-loops` lets both kernels load what it computes before the loop.

    Carried values that cost no products and that none of the others depend on, such as sums
    over tokens (gradients of parameters) and scans of gradients, go round a loop of their own in a
    third kernel, `<name>_late`; what they add or scan is then computed by leaves too.

    Kernels stay whole of which less than a quarter of the heavy work would leave, or
    where more would be stored than the kernel reads and writes. So do
    loops that go forwards: their leaves are few products, for which all states would be stored.
    Examples: test/Dialect/Tile/Transforms/fission-leaves.mlir.
  }];
  let dependentDialects = ["::fla::tile::TileDialect"];
}

def FissionLoops : Pass<"fla-fission-loops", "::mlir::ModuleOp"> {
  let summary = "Moves what depends on no state out of the loop over chunks, into a kernel over chunks";
  let description = [{
    A kernel that carries states from chunk to chunk keeps what reads them. Products
    of tokens, inverses, sums of gates and what else costs more than a load and
    elementwise arithmetic is computed before by a kernel `<name>_chunks` whose grid
    runs over the chunks as well. It stores what the loop needs in buffers of kind
    `saved` and role `temp`: an elementwise combination rather than its parts, unless
    those are small; matrices that are only operands of products in the type that
    products take, the rest in the compute type. Stores of what depends on no state
    move along. A product restricted to pairs of tokens reads all of a stored matrix
    that is zero for other pairs.

    Scans of what tokens bring, and other carried values that need no product and nothing of the
    rest, go round a loop of their own before, in a kernel `<name>_early`. It stores what is carried
    into each chunk, from where the kernel over chunks scans again; what depends on the scans alone then
    leaves the loop too. That is done in forward loops, if more heavy work leaves them for it or blocks
    would all do the same scan, and if no more is stored than the kernel reads and writes.

    What differs between blocks of columns stays in the loop. Where all of this would
    take twice the memory of the kernel's own buffers, or in a reverse loop as much as
    they do, only matrices that are operands of products are stored. Kernels stay
    whole of which less than a quarter of such work would leave the loop.
    Example: test/Dialect/Tile/Transforms/fission-loops.mlir.
  }];
  let dependentDialects = ["::fla::tile::TileDialect"];
}

def FissionChunks : Pass<"fla-fission-chunks", "::mlir::ModuleOp"> {
  let summary = "Divides a long kernel over chunks";
  let description = [{
    A kernel that does much holds more tiles at once than there are registers for, and a compiler takes long
    over its text. It becomes two: `<name>_part0` does about half of the work and stores, in buffers of
    kind `saved` and role `temp`, what the other, which keeps the name, reads of it; matrices that are
    only operands of products in the type that products take. Light work (loads, elementwise arithmetic, sums of
    gates) is done again where that moves less memory. The cut is one that moves little and leaves either
    part at most three quarters of the text. Parts that are still long are divided further.

    Text is counted in instructions of a thread, by estimate. Kernels and parts stay whole of at most
    `longest`, or, where a thread of the kernel holds more than `held` numbers of tiles at once, `longest-crowded`.
    So do those without such a cut, those that store what they load, and where more would be stored than the kernel reads and writes.
    Example: test/Dialect/Tile/Transforms/fission-chunks.mlir.
  }];
  let options = [
    Option<"longest", "longest", "int64_t", "5000", "instructions of a kernel that stays whole">,
    Option<"longestCrowded", "longest-crowded", "int64_t", "2000", "the same of one that holds much at once">,
    Option<"held", "held", "int64_t", "80", "numbers of tiles that a thread may hold at once">];
  let dependentDialects = ["::fla::tile::TileDialect"];
}

def PadTiles : Pass<"fla-pad-tiles", "::mlir::ModuleOp"> {
  let summary = "Makes every axis of a kernel's tiles a power of two";
  let description = [{
    For targets whose threads hold tiles by the bits of their coordinates. Loads and
    stores move tiles that are larger than their buffers. What was added is cleared
    where it would meet a tile's own elements (the axis that a product or a
    reduction sums over), unless it is known to be neutral there: zero beyond loads,
    products of zeros, what `arith` and `math` fold such numbers to.

    Slices that would reach beyond their tile pass through a larger one; flattened
    axes that are no powers of two, but for the first, become `tile.reshape`.
    Example: test/Dialect/Tile/Transforms/pad-tiles.mlir.
  }];
  let dependentDialects = ["::fla::tile::TileDialect", "::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect"];
}

def GroupChunks : Pass<"fla-group-chunks", "::mlir::ModuleOp"> {
  let summary = "Gives a grid point of a kernel over chunks several of them";
  let description = [{
    Finding its sequence and its tensors takes a grid point about as long as a chunk
    of little work, and the first load of a chunk is waited for. With `span` chunks, one after the other, this
    is paid once, and loads begin a chunk ahead (`fla-stage-loads`). Kernels without products stay,
    and those of which fewer blocks would share a unit's registers.
    Example: test/Dialect/Tile/Transforms/group-chunks.mlir.
  }];
  let options = [
    Option<"span", "span", "int64_t", "4", "chunks a grid point">,
    Option<"threads", "threads", "int64_t", "256", "of a block">,
    Option<"registers", "registers", "int64_t", "65536", "of all threads of a unit">];
  let dependentDialects = ["::fla::tile::TileDialect", "::mlir::arith::ArithDialect", "::mlir::scf::SCFDialect"];
}

def StageLoads : Pass<"fla-stage-loads", "::mlir::ModuleOp"> {
  let summary = "Loads begin a chunk ahead";
  let description = [{
    In a loop over chunks, tiles of the caller's memory are copied to memory that the
    threads of a block share while the chunk before is worked on (`tile.copy`, two
    stages, one `tile.wait` a chunk); products then read their operands there, and what
    else reads them, reads registers from there. Numbers of tokens, too small to be copied,
    are loaded a chunk ahead and carried. Kernels over chunks copy what products alone
    read. As long as there is room; f32 matrices only where products take them as they
    are stored (`wide`).
    Example: test/Dialect/Tile/Transforms/stage-loads.mlir.
  }];
  let options = [
    Option<"bytes", "bytes", "int64_t", "65536", "room for copies in a block">,
    Option<"wide", "wide", "bool", "false", "copy f32 matrices, too">];
  let dependentDialects = ["::fla::tile::TileDialect", "::mlir::arith::ArithDialect", "::mlir::scf::SCFDialect"];
}

def AssignStepLayouts : Pass<"fla-assign-step-layouts", "::mlir::ModuleOp"> {
  let summary = "Gives the tiles of a token's step layouts in which a state never moves";
  let description = [{
    In kernels of one token a chunk, without products, matrices are held by columns: a
    thread has a few neighbours of a row, a row's neighbours lie in a few lanes, other
    lanes have other rows and warps other columns. So a state is loaded and stored in
    whole sectors, and a sum over its rows is one over registers and some lanes. Vectors
    are slices of matrices along the axis that they meet; what is loaded or computed from
    loads alone is loaded once for each axis that wants it. Other kernels stay as they are.
    Example: test/Dialect/Tile/Transforms/assign-step-layouts.mlir.
  }];
  let options = [
    Option<"lanes", "lanes", "int64_t", "32", "threads of a warp">,
    Option<"warps", "warps", "int64_t", "8", "warps of a block">];
  let dependentDialects = ["::fla::tile::TileDialect"];
}

def AssignLayouts : Pass<"fla-assign-layouts", "::mlir::ModuleOp"> {
  let summary = "Says which thread holds which element of each tile";
  let description = [{
    An axis of the carried states that no operation sums over or moves along (the
    value's columns in most forward kernels) is shared out among the warps: tiles that
    have it are held as accumulators whose rows, or columns, lie along it, whichever lets a
    product's result be an operand of the next product in the registers where it is (a
    query on the layouts of the atom). Such a kernel says how many `warps` it has.

    Other matrices at least as large as the target's accumulator are held as accumulators
    are, whatever made them, so that elementwise work between products moves
    nothing; other matrices and long vectors are held row by row, short vectors by every
    warp, tiles of higher rank by columns. Matrices that sums along the tokens and
    elementwise work join are held with neighbouring tokens in a thread, if that costs
    fewer changes of threads than it saves. Scans hold whole columns in a thread. Reductions
    drop an axis, broadcasts take the part of their result's layout. Where these
    disagree a `tile.convert_layout` is inserted; what is cheap (constants, masks,
    broadcasts) is computed again instead.
    Example: test/Dialect/Tile/Transforms/assign-layouts.mlir.
  }];
  let options = [
    Option<"lanes", "lanes", "int64_t", "32", "threads of a warp">,
    Option<"warps", "warps", "int64_t", "8", "warps of a block">,
    Option<"accumulator", "accumulator", "std::string", "", "layout of one warp's accumulator, as `16x8 #tile.layout<...>`; empty for none">,
    Option<"left", "left", "std::string", "", "layout of its left operand">,
    Option<"right", "right", "std::string", "", "layout of its right operand">];
  let dependentDialects = ["::fla::tile::TileDialect"];
}

def ShortenLives : Pass<"fla-shorten-lives", "::mlir::ModuleOp"> {
  let summary = "Orders work so that fewer tiles are held at once";
  let description = [{
    Where a loop's body, or a kernel's without loops, holds tiles in more than twice the
    `registers` that a thread has for them. Products and what depends on them go in the order that
    ends most lives, level by level for gates a channel. What is computed from loads by
    elementwise work and sums of gates goes where it is first used; loads of the
    caller's memory go as far ahead as there is room for them.
    Example: test/Dialect/Tile/Transforms/shorten-lives.mlir.
  }];
  let options = [Option<"registers", "registers", "int64_t", "160", "registers a thread has for tiles">];
  let dependentDialects = ["::fla::tile::TileDialect"];
}

#endif
