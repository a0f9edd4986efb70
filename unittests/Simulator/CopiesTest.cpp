//===- CopiesTest.cpp - cp.async into shared memory, ldmatrix out of it ---===//
//
// What generated kernels do with their operands: rows of 16 bytes are copied
// ahead of time, those past the end as zeros, and read as matrices, plain and
// transposed, one, two and four at once.
//
//===----------------------------------------------------------------------===//
#include "Harness.h"

using namespace fla::sim;
using namespace fla::sim::test;

// Thread t copies row t of 32 rows of 16 bytes, of which `valid` exist; row t lies at
// byte `stride` * t of shared memory. Then COUNT matrices are loaded and written out.
static const char *copies = R"mlir(
llvm.mlir.global external @fla_shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
llvm.func @k(%a: !llvm.ptr<1>, %out: !llvm.ptr<1>, %valid: i32, %stride: i32) {
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %c0 = arith.constant 0 : i32
  %c16 = arith.constant 16 : i32
  %s = llvm.mlir.addressof @fla_shared : !llvm.ptr<3>
  %pa = llvm.getelementptr %a[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, vector<4xi32>
  %at = arith.muli %t, %stride : i32
  %row = llvm.getelementptr %s[%at] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
  %in = arith.cmpi slt, %t, %valid : i32
  %bytes = arith.select %in, %c16, %c0 : i32
  nvvm.cp.async.shared.global %row, %pa, 16, cache = cg, %bytes : !llvm.ptr<3>, !llvm.ptr<1>, i32
  nvvm.cp.async.commit.group
  nvvm.cp.async.wait.group 0
  nvvm.barrier
  %m = nvvm.ldmatrix %row {num = COUNT : i32, layout = #nvvm.mma_layout<LAYOUT>, shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>} : (!llvm.ptr<3>) -> TYPE
STORES
  llvm.return
})mlir";

static void replaceAll(std::string &text, const std::string &what, const std::string &with) {
  for (size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += with.size())
    text.replace(at, what.size(), with);
}

/// Register i of lane t goes to out[32 i + t].
static std::string kernel(unsigned count, bool transposed) {
  std::string text = copies, type = "i32", stores;
  if (count > 1) {
    type = "!llvm.struct<(i32";
    for (unsigned i = 1; i < count; ++i)
      type += ", i32";
    type += ")>";
  }
  for (unsigned i = 0; i < count; ++i) {
    std::string n = std::to_string(i), value = "%m";
    if (count > 1) {
      value = "%m" + n;
      stores += "  " + value + " = llvm.extractvalue %m[" + n + "] : " + type + "\n";
    }
    stores += "  %c" + n + "_ = arith.constant " + std::to_string(32 * i) + " : i32\n  %o" + n + " = arith.addi %t, %c" + n + "_ : i32\n  %p" + n +
              " = llvm.getelementptr %out[%o" + n + "] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32\n  llvm.store " + value + ", %p" + n +
              " : i32, !llvm.ptr<1>\n";
  }
  replaceAll(text, "COUNT", std::to_string(count));
  replaceAll(text, "LAYOUT", transposed ? "col" : "row");
  replaceAll(text, "TYPE", type);
  replaceAll(text, "STORES", stores);
  return text;
}

namespace {
struct Result {
  Report report;
  std::vector<uint32_t> out;
};
} // namespace

/// 32 rows of eight numbers, number j of row i being 100 i + j.
static Result launch(const std::string &text, int valid = 32, int stride = 16, int64_t shared = 512) {
  std::vector<uint16_t> a(valid * 8);
  for (int i = 0; i < valid * 8; ++i)
    a[i] = i / 8 * 100 + i % 8;
  Result result{{}, std::vector<uint32_t>(128)};
  Memory memory;
  uint64_t pa = memory.add(a.data(), a.size() * 2, "a", Memory::ReadOnly), po = memory.add(result.out.data(), 512, "out");
  result.report = run({text, {pa, po, Argument::integer(valid), Argument::integer(stride)}, 1, 32, shared}, memory);
  return result;
}

static void testMatricesOf(unsigned count, bool transposed) {
  std::string name = "ldmatrix x" + std::to_string(count) + (transposed ? " transposed" : "");
  const int valid = 29; // the last rows are not there
  Result result = launch(kernel(count, transposed), valid);
  expectClean(result.report, name);
  for (unsigned matrix = 0; matrix < count; ++matrix)
    for (unsigned lane = 0; lane < 32; ++lane) {
      uint32_t want = 0;
      for (unsigned half = 0; half < 2; ++half) {
        unsigned row = lane / 4, column = lane % 4 * 2 + half;
        if (transposed)
          std::swap(row, column);
        unsigned number = 8 * matrix + row < valid ? (8 * matrix + row) * 100 + column : 0;
        want |= number << 16 * half;
      }
      expect(result.out[32 * matrix + lane] == want, name + ": matrix " + llvm::Twine(matrix) + ", lane " + llvm::Twine(lane));
    }
}

static unsigned ways(const Report &report, llvm::StringRef operation) {
  for (const SharedAccess &access : report.shared)
    if (access.operation == operation)
      return access.ways;
  return 0;
}

static void testConflicts() {
  for (auto [stride, want] : {std::pair(16, 1u), {32, 2u}, {64, 4u}, {128, 8u}, {144, 1u}}) {
    Result result = launch(kernel(4, false), 32, stride, 32 * stride);
    expectClean(result.report, "rows " + llvm::Twine(stride) + " bytes apart");
    for (const char *operation : {"nvvm.ldmatrix", "nvvm.cp.async.shared.global"})
      expect(ways(result.report, operation) == want, llvm::Twine(operation) + " of rows " + llvm::Twine(stride) + " bytes apart: expected " +
                                                         llvm::Twine(want) + "-way, got " + llvm::Twine(ways(result.report, operation)));
  }
}

static void testErrors() {
  std::string text = kernel(4, true);
  expectError(launch(without(text, "nvvm.cp.async.wait.group 0")).report, ErrorKind::MissingWait, "nvvm.ldmatrix",
              "ldmatrix of a copy not waited for");
  expectError(launch(without(text, "wait.group 0", "wait.group 1")).report, ErrorKind::MissingWait, "nvvm.ldmatrix",
              "a wait that leaves the group open");
  expectError(launch(without(text, "nvvm.cp.async.commit.group")).report, ErrorKind::MissingWait, "nvvm.ldmatrix", "copies that no group holds");
  expectError(launch(without(text, "nvvm.barrier")).report, ErrorKind::Race, "nvvm.ldmatrix", "ldmatrix of others' copies without a barrier");
  expectError(launch(without(text, ", %bytes : !llvm.ptr<3>, !llvm.ptr<1>, i32", " : !llvm.ptr<3>, !llvm.ptr<1>"), 29).report, ErrorKind::OutOfBounds,
              "nvvm.cp.async.shared.global", "a copy of rows past the end");
  expectError(launch(without(text, "%c16 = arith.constant 16", "%c16 = arith.constant 32")).report, ErrorKind::Operand, "nvvm.cp.async.shared.global",
              "a source size above the copy's");
  expectError(launch(text, 32, 24, 1024).report, ErrorKind::Misaligned, "nvvm.cp.async.shared.global", "rows that are not aligned");
  expectError(launch(text, 32, 16, 496).report, ErrorKind::OutOfBounds, "nvvm.cp.async.shared.global", "a row past the end of shared memory");
  expectError(launch(without(text, "nvvm.cp.async.shared.global %row, %pa, 16, cache = cg, %bytes : !llvm.ptr<3>, !llvm.ptr<1>, i32")).report,
              ErrorKind::Uninitialised, "nvvm.ldmatrix", "ldmatrix of what nobody wrote");
}

void fla::sim::test::testCopies() {
  for (unsigned count : {1, 2, 4})
    for (bool transposed : {false, true})
      testMatricesOf(count, transposed);
  testConflicts();
  testErrors();
}
