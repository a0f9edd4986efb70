//===- RuntimeTest.cpp - buffers, grids, threads and the cache ------------===//
//
// What a kernel reads and writes in the caller's memory: ragged and packed
// sequences, head groups, column blocks, chunk slots, 16-bit types, absent
// buffers; then the thread pool (also after fork), the on-disk cache, and cubins in it.
//
//===----------------------------------------------------------------------===//
#include "TileRunner.h"
#include "fla/Runtime/Cache.h"
#include "fla/Runtime/Cubins.h"
#include "fla/Runtime/ThreadPool.h"

#include <dlfcn.h>

#include <atomic>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <sys/stat.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

using namespace fla;
using namespace fla::testing;

namespace {

void expect(bool condition, const char *what) {
  if (!condition)
    fail(what);
}
#define EXPECT(condition) expect(condition, #condition)

/// Rows of packed sequences, doubled; each column block writes its own half.
void testPackedRows() {
  TileRunner runner(R"(
tile.kernel @twice(%x : !tile.buffer<token, 6xf32>, %s : !tile.buffer<value, f64>, out %y : !tile.buffer<token, 6xf32>, out %n : !tile.buffer<saved, f32>)
    attributes {chunk = 4 : i64, blocks = 2 : i64, over_chunks} {
  %c = tile.chunk_id
  %f = tile.load %s : !tile.buffer<value, f64> -> f32
  %a = tile.load %x[%c] : !tile.buffer<token, 6xf32> -> tensor<4x3xf32>
  %b = tile.broadcast %f [] : f32 -> tensor<4x3xf32>
  %p = arith.mulf %a, %b : tensor<4x3xf32>
  tile.store %p, %y[%c] : tensor<4x3xf32>, !tile.buffer<token, 6xf32>
  %r = tile.reduce add %a axis 1 : tensor<4x3xf32> -> tensor<4xf32>
  %t = tile.reduce add %r axis 0 : tensor<4xf32> -> f32
  tile.store %t, %n[%c] : f32, !tile.buffer<saved, f32>
})");
  const int64_t tokens = 14, heads = 4;
  int64_t offsets[] = {0, 5, 5, 13}; // lengths 5, 0, 8; one spare row
  std::vector<float> x(tokens * 2 * 6), y(tokens * heads * 6, -7.0f);
  for (size_t i = 0; i < x.size(); ++i)
    x[i] = i;
  for (int h = 0; h < 2; ++h) // NaN in a row of sequence 2 only
    x[(6 * 2 + h) * 6] = NAN;
  double factor = 2;
  runtime::Shape shape{1, tokens, heads, 3, offsets};
  EXPECT(runtime::checkShape(shape).empty());
  int64_t slots = runtime::numSlots(shape, 4);
  std::vector<float> sums(slots * heads, -7.0f);
  runtime::Buffer buffers[] = {{x.data(), tokens * 12, 12, 6, 2},
                               {&factor, 0, 0, 0, 1},
                               {y.data(), tokens * heads * 6, heads * 6, 6, 1},
                               {sums.data(), heads, 0, 1, 1}};
  EXPECT(runtime::launch(runner.kernel(), buffers, shape, 3));
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t h = 0; h < heads; ++h)
      for (int64_t j = 0; j < 6; ++j) {
        float got = y[(t * heads + h) * 6 + j], in = x[(t * 2 + h / 2) * 6 + j];
        if (t == 13)
          EXPECT(got == -7.0f);
        else if (t == 6 && j == 0)
          EXPECT(std::isnan(got));
        else
          EXPECT(got == 2 * in);
      }
  // Sequence 0 has slots 0 and 1, sequence 2 (row 5) starts at slot 5/4 + 2 = 3.
  EXPECT(!std::isnan(sums[0]) && !std::isnan(sums[heads]));
  EXPECT(sums[2 * heads] == -7.0f);
  EXPECT(!std::isnan(sums[4 * heads]));
}

/// A carry over ragged chunks; rows past the end read zero, not memory.
void testRaggedLoop() {
  TileRunner runner(R"(
tile.kernel @sum(%x : !tile.buffer<token, 5xf32>, %init : !tile.buffer<state, 5xf32>, out %last : !tile.buffer<state, 5xf32>)
    attributes {chunk = 8 : i64, blocks = 1 : i64} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %n = tile.num_chunks
  %s0 = tile.load %init : !tile.buffer<state, 5xf32> -> tensor<5xf32>
  %s = scf.for %i = %c0 to %n step %c1 iter_args(%a = %s0) -> (tensor<5xf32>) {
    %k = arith.subi %n, %i : index
    %j = arith.subi %k, %c1 : index
    %t = tile.load %x[%j] : !tile.buffer<token, 5xf32> -> tensor<8x5xf32>
    %r = tile.reduce add %t axis 0 : tensor<8x5xf32> -> tensor<5xf32>
    %b = arith.addf %a, %r : tensor<5xf32>
    scf.yield %b : tensor<5xf32>
  }
  tile.store %s, %last : tensor<5xf32>, !tile.buffer<state, 5xf32>
})");
  for (int64_t tokens : {0, 1, 7, 8, 9, 21}) {
    std::vector<float> x((2 * tokens + 40) * 5, NAN), initial(10, 1.0f), last(10, -7.0f);
    std::fill(x.begin(), x.begin() + 2 * tokens * 5, 0.5f);
    runtime::Buffer buffers[] = {{x.data(), tokens * 5, 5, 5, 1}, {initial.data(), 5, 0, 5, 1}, {last.data(), 5, 0, 5, 1}};
    // Run the last batch entry's rows up against the NaNs behind them.
    EXPECT(runtime::launch(runner.kernel(), buffers, {2, tokens, 1, 2, nullptr}, 2));
    for (float value : last)
      EXPECT(value == 1.0f + 0.5f * tokens);
    buffers[1].data = nullptr; // absent: zero
    buffers[2].data = nullptr; // skipped
    std::fill(last.begin(), last.end(), -7.0f);
    EXPECT(runtime::launch(runner.kernel(), buffers, {2, tokens, 1, 2, nullptr}, 2));
    EXPECT(last[0] == -7.0f);
    buffers[2].data = last.data();
    EXPECT(runtime::launch(runner.kernel(), buffers, {2, tokens, 1, 2, nullptr}, 2));
    EXPECT(last[9] == 0.5f * tokens);
  }
}

/// 16-bit inputs and outputs, an absent gate that reads as one.
void testSixteenBits() {
  for (const char *type : {"bf16", "f16"}) {
    std::string t = type;
    TileRunner runner("tile.kernel @k(%x : !tile.buffer<token, 9x" + t + ">, %g : !tile.buffer<token, " + t + ">, out %y : !tile.buffer<token, 9x" + t +
                      ">) attributes {chunk = 4 : i64, blocks = 1 : i64, over_chunks} {\n%c = tile.chunk_id\n%a = tile.load %x[%c] : !tile.buffer<token, 9x" + t +
                      "> -> tensor<4x9xf32>\n%b = tile.load %g[%c] {absent = 1.0 : f64} : !tile.buffer<token, " + t +
                      "> -> tensor<4xf32>\n%d = tile.broadcast %b [0] : tensor<4xf32> -> tensor<4x9xf32>\n%e = arith.mulf %a, %d : tensor<4x9xf32>\n" +
                      "tile.store %e, %y[%c] : tensor<4x9xf32>, !tile.buffer<token, 9x" + t + ">\n}");
    uint16_t one = t == "bf16" ? 0x3f80 : 0x3c00, two = t == "bf16" ? 0x4000 : 0x4000;
    std::vector<uint16_t> x(7 * 9, two), g(7, one), y(7 * 9, 0);
    runtime::Buffer buffers[] = {{x.data(), 63, 9, 9, 1}, {g.data(), 7, 1, 1, 1}, {y.data(), 63, 9, 9, 1}};
    for (int pass = 0; pass < 2; ++pass) {
      std::fill(y.begin(), y.end(), 0);
      EXPECT(runtime::launch(runner.kernel(), buffers, {1, 7, 1, 1, nullptr}, 1));
      for (uint16_t value : y)
        EXPECT(value == two);
      buffers[1].data = nullptr;
    }
  }
}

void testUnsupported() {
  // An operation that the target does not know is a diagnostic, not a crash.
  mlir::DialectRegistry registry;
  registry.insert<fla::tile::TileDialect, mlir::arith::ArithDialect, mlir::scf::SCFDialect, mlir::LLVM::LLVMDialect, mlir::tensor::TensorDialect>();
  mlir::MLIRContext context(registry, mlir::MLIRContext::Threading::DISABLED);
  std::string text;
  mlir::ScopedDiagnosticHandler handler(&context, [&](mlir::Diagnostic &diagnostic) {
    text += diagnostic.str();
    return mlir::success();
  });
  auto module = mlir::parseSourceString<mlir::ModuleOp>(R"(
tile.kernel @k(out %y : !tile.buffer<state, 2xf32>) attributes {chunk = 4 : i64, blocks = 1 : i64} {
  %c = arith.constant true
  scf.if %c { }
})", &context);
  EXPECT(module && failed(cpu::compileToObject(*module)));
  EXPECT(text.find("is not supported inside a kernel of the CPU target") != std::string::npos);
}

void testShapes() {
  int64_t falling[] = {0, 5, 3}, late[] = {1, 5}, outside[] = {0, 9};
  EXPECT(runtime::checkShape({1, 8, 1, 2, falling}).find("not to fall") != std::string::npos);
  EXPECT(!runtime::checkShape({1, 8, 1, 1, late}).empty());
  EXPECT(!runtime::checkShape({1, 8, 1, 1, outside}).empty());
  EXPECT(!runtime::checkShape({2, 8, 1, 3, nullptr}).empty());
}

int64_t sumInParallel(int64_t count, int64_t threads) {
  std::atomic<int64_t> sum{0};
  runtime::parallelFor(count, threads, [&](int64_t i) { sum += i; });
  return sum;
}

void testThreads() {
  for (int64_t threads : {1, 2, 3, 8})
    for (int64_t count : {0, 1, 2, 100, 5000})
      EXPECT(sumInParallel(count, threads) == count * (count - 1) / 2);
  // Nested, and from several threads at once.
  std::atomic<int64_t> calls{0};
  runtime::parallelFor(10, 4, [&](int64_t) { calls += sumInParallel(10, 4) == 45; });
  EXPECT(calls == 10);
  std::vector<std::thread> callers;
  std::atomic<int64_t> good{0};
  for (int i = 0; i < 4; ++i)
    callers.emplace_back([&] {
      for (int repeat = 0; repeat < 200; ++repeat)
        good += sumInParallel(100, 3) == 4950;
    });
  for (auto &caller : callers)
    caller.join();
  EXPECT(good == 800);
  // On the process's OpenMP team too, once there is one.
  if (dlopen("libgomp.so.1", RTLD_NOW | RTLD_GLOBAL)) {
    for (int64_t threads : {2, 3, 8})
      EXPECT(sumInParallel(5000, threads) == 5000 * 4999 / 2);
    calls = 0;
    runtime::parallelFor(10, 4, [&](int64_t) { calls += sumInParallel(10, 4) == 45; });
    EXPECT(calls == 10);
  } else {
    std::printf("no libgomp.so.1: tasks on an OpenMP team are not tested here\n");
  }
  // A child starts its own workers.
  pid_t child = fork();
  if (child == 0)
    _exit(sumInParallel(1000, 4) == 499500 ? 0 : 1);
  int status = 0;
  EXPECT(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

void testCache() {
  char folder[] = "/tmp/fla-cache-test-XXXXXX";
  EXPECT(mkdtemp(folder) != nullptr);
  std::string cache = std::string(folder) + "/a/b";
  setenv("FLA_CACHE_DIR", cache.c_str(), 1);
  std::string key = runtime::cacheKey({"source", "options"});
  EXPECT(key != runtime::cacheKey({"sourceo", "ptions"}) && key.size() == 64);
  EXPECT(!runtime::readCache(key));
  runtime::writeCache(key, {"{\"m\":1}", std::string("object\0bytes", 12)});
  auto entry = runtime::readCache(key);
  EXPECT(entry && entry->manifest == "{\"m\":1}" && entry->object.size() == 12);
  struct stat info;
  EXPECT(stat(cache.c_str(), &info) == 0 && (info.st_mode & 0777) == 0700);
  // Other processes write the same and other entries at once.
  std::vector<pid_t> children;
  for (int i = 0; i < 4; ++i) {
    pid_t child = fork();
    if (child == 0) {
      for (int n = 0; n < 50; ++n) {
        runtime::writeCache(key, {"{\"m\":1}", std::string("object\0bytes", 12)});
        auto seen = runtime::readCache(key);
        if (!seen || seen->object.size() != 12)
          _exit(1);
      }
      _exit(0);
    }
    children.push_back(child);
  }
  for (pid_t child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  // The oldest entries go when the size is reached.
  setenv("FLA_CACHE_MB", "1", 1);
  std::string big(400 * 1024, 'x');
  for (const char *name : {"one", "two", "three"}) {
    runtime::writeCache(runtime::cacheKey({name}), {"{}", big});
    usleep(20000);
  }
  EXPECT(!runtime::readCache(runtime::cacheKey({"one"})) && runtime::readCache(runtime::cacheKey({"three"})));
  // A damaged entry is a warning and a miss.
  { std::ofstream(cache + "/" + runtime::cacheKey({"three"}) + ".flaobj", std::ios::app) << "!"; }
  EXPECT(!runtime::readCache(runtime::cacheKey({"three"})));
  // A folder that cannot be made: nothing happens.
  setenv("FLA_CACHE_DIR", "/proc/nowhere", 1);
  runtime::writeCache(key, {"{}", "x"});
  EXPECT(!runtime::readCache(key));
  setenv("FLA_CACHE_DIR", cache.c_str(), 1);
  setenv("FLA_CACHE", "0", 1);
  EXPECT(!runtime::readCache(key));
  EXPECT(std::system(("rm -r " + std::string(folder)).c_str()) == 0);
}

void testSplitPtx() {
  const std::string head =
      "//\n// Generated\n//\n\n.version 8.0\n.target sm_90\n.address_size 64\n\n\t// .globl\tone\n.extern .shared .align 1024 .b8 s[];\n\n";
  const std::string one = ".visible .entry one(\n\t.param .u64 .ptr .align 1 one_param_0\n)\n.reqntid 256, 1, 1\n.minnctapersm 1\n{\n"
                          "\t.reg .b32 \t%r<3>;\n$L__BB0_1:\n\t{ .reg .b16 t; }\n\tret;\n\t// -- End function\n}\n";
  const std::string two = ".entry two()\n{\n\tret;\n}\n";
  auto parts = runtime::splitPtx(head + one + "\n\t// .globl\ttwo\n" + two);
  EXPECT(parts.size() == 2 && parts[0].kernel == "one" && parts[1].kernel == "two");
  EXPECT(parts[0].bytes == head + one && parts[1].bytes == head + two);
  // What another kernel may refer to, or what is not understood, keeps a text together.
  for (const std::string &text :
       {head + one, head + ".func f()\n{\n\tret;\n}\n" + one + two, head + one + ".func f()\n{\n}\n" + two,
        head + ".global .align 4 .u32 g;\n" + one + two, head + one + two.substr(0, two.size() - 2), std::string("other"), std::string()}) {
    auto whole = runtime::splitPtx(text);
    EXPECT(whole.size() == 1 && whole[0].kernel.empty() && whole[0].bytes == text);
  }
}

void testCubins() {
  char folder[] = "/tmp/fla-cubins-test-XXXXXX";
  EXPECT(mkdtemp(folder) != nullptr);
  setenv("FLA_CACHE_DIR", folder, 1);
  setenv("FLA_CACHE", "1", 1);
  setenv("FLA_CACHE_MB", "1", 1);
  std::string ptx = ".version 8.0\n";
  for (const char *name : {"a", "b", "c"})
    ptx += std::string(".visible .entry ") + name + "()\n{\n}\n";
  std::atomic<int> calls{0}, running{0}, most{0}, together{1}; // as many are to run at once
  std::string refused;
  auto link = [&](const runtime::KernelCode &text) -> llvm::Expected<std::string> {
    ++calls;
    for (int now = ++running, seen = most; now > seen && !most.compare_exchange_weak(seen, now);)
      ;
    for (int tries = 0; most < together && tries < 5000; ++tries)
      usleep(1000);
    --running;
    if (text.kernel == refused)
      return llvm::createStringError("no " + refused);
    return "cubin of " + text.kernel + std::string("\0!", 2);
  };
  auto make = [&](runtime::CubinRequest request, int atOnce) {
    calls = most = 0, together = atOnce;
    return runtime::makeCubins(request, link);
  };
  auto areRight = [](llvm::Expected<std::vector<runtime::KernelCode>> &cubins, bool cached) {
    return cubins && cubins->size() == 3 && llvm::all_of(llvm::enumerate(*cubins), [&](auto it) {
             std::string name(1, "abc"[it.index()]);
             return it.value().kernel == name && it.value().cached == cached && it.value().bytes == "cubin of " + name + std::string("\0!", 2);
           });
  };
  runtime::CubinRequest request{ptx, "sm_90", "12080 libcuda.so.570.1", 4};
  // What was made before a failure stays.
  refused = "b";
  auto failed = make(request, 3);
  EXPECT(!failed && llvm::toString(failed.takeError()) == "no b" && calls == 3 && most == 3);
  refused = "";
  auto first = make(request, 1);
  EXPECT(first && calls == 1 && (*first)[0].cached && !(*first)[1].cached);
  auto again = make(request, 1);
  EXPECT(areRight(again, true) && calls == 0);
  // Afresh, one after another.
  request.fresh = true, request.threads = 1;
  auto fresh = make(request, 1);
  EXPECT(areRight(fresh, false) && calls == 3 && most == 1);
  // Another driver, another device, another text.
  request.fresh = false, request.threads = 2;
  for (int i = 0; i < 3; ++i) {
    runtime::CubinRequest other = request;
    std::string text = ptx + ".visible .entry d()\n{\n}\n";
    i == 0 ? other.driver += "5" : i == 1 ? other.chip = "sm_120" : (other.ptx = text).str();
    auto cubins = make(other, i == 2 ? 1 : 2);
    EXPECT(cubins && calls == (i == 2 ? 1 : 3) && most == together);
  }
  setenv("FLA_CACHE", "0", 1);
  auto unkept = make(request, 2);
  EXPECT(areRight(unkept, false) && calls == 3);
  EXPECT(std::system(("rm -r " + std::string(folder)).c_str()) == 0);
}

} // namespace

int main() {
  testShapes();
  testPackedRows();
  testRaggedLoop();
  testSixteenBits();
  testUnsupported();
  testThreads();
  testCache();
  testSplitPtx();
  testCubins();
  std::printf("all passed\n");
  return 0;
}
