//===- CAPI.cpp - the C API of libfla -------------------------------------===//
#include "Compiler.h"
#include "fla-c/fla.h"
#include "fla/Check/Ladder.h"
#include <cstdlib>
#include <cstring>

using namespace fla;
using namespace fla::capi;

struct FlaProgram {
  std::unique_ptr<Program> program;
};

static thread_local std::string lastError;

static char *duplicate(llvm::StringRef text) {
  char *copy = static_cast<char *>(malloc(text.size() + 1));
  if (copy) {
    memcpy(copy, text.data(), text.size());
    copy[text.size()] = 0;
  }
  return copy;
}

static std::nullptr_t fail(llvm::Error error) {
  lastError = llvm::toString(std::move(error));
  return nullptr;
}

static llvm::StringRef orEmpty(const char *text) { return text ? text : ""; }

const char *fla_version(void) { return FLA_VERSION; }
const char *fla_last_error(void) { return lastError.c_str(); }
void fla_string_free(char *text) { free(text); }
int64_t fla_compilations(void) { return numCompilations(); }

char *fla_phase(const char *text, const char *optionsText) {
  auto options = parseOptions(orEmpty(optionsText));
  if (!options)
    return fail(options.takeError());
  auto source = Source::parse(orEmpty(text), options->entry);
  if (!source)
    return fail(source.takeError());
  if (llvm::Error error = (*source)->run([&] { return runPhases((*source)->getModule(), *options); }))
    return fail(std::move(error));
  std::string ir;
  llvm::raw_string_ostream os(ir);
  (*source)->getModule().print(os);
  return duplicate(ir);
}

FlaProgram *fla_compile(const char *source, const char *options) {
  auto program = compile(orEmpty(source), orEmpty(options));
  if (!program)
    return fail(program.takeError());
  return new FlaProgram{std::move(*program)};
}

void fla_program_free(FlaProgram *program) { delete program; }
const char *fla_program_manifest(const FlaProgram *program) { return program->program->manifest.c_str(); }

char *fla_describe(const char *source, const char *options) {
  auto facts = describe(orEmpty(source), orEmpty(options));
  if (!facts)
    return fail(facts.takeError());
  return duplicate(std::string(llvm::formatv("{0}", *facts)));
}

char *fla_check(const char *source, const char *options) {
  auto rows = check::checkText(orEmpty(source), orEmpty(options));
  if (!rows)
    return fail(rows.takeError());
  return duplicate(std::string(llvm::formatv("{0}", llvm::json::Value(std::move(*rows)))));
}

//===----------------------------------------------------------------------===//
// Running
//===----------------------------------------------------------------------===//

static llvm::Error checkCall(const Program &program, const FlaTensor *tensors, int64_t numTensors, const FlaShape *shape) {
  if (!tensors || !shape || numTensors != static_cast<int64_t>(program.names.size()))
    return llvm::createStringError("expected " + llvm::Twine(program.names.size()) + " tensors, got " + llvm::Twine(numTensors));
  for (int64_t i = 0; i < numTensors; ++i) {
    int64_t heads = tensors[i].heads;
    if (tensors[i].data && heads > 0 && shape->heads % heads != 0)
      return llvm::createStringError("expected a head count of '" + program.names[i] + "' that divides " + llvm::Twine(shape->heads) + ", got " +
                                     llvm::Twine(heads));
  }
  return llvm::Error::success();
}

static int64_t groupOf(const FlaTensor &tensor, int64_t heads) {
  int64_t group = tensor.heads > 0 ? heads / tensor.heads : 1;
  return group > 0 ? group : 1;
}

static runtime::Buffer bufferOf(const FlaTensor &t, int64_t heads) {
  return {t.data, t.stride_batch, t.stride_token, t.stride_head, groupOf(t, heads)};
}

static runtime::Shape shapeOf(const FlaShape &s) {
  return {s.batch, s.tokens, s.heads, s.num_sequences, s.cu_seqlens, s.state_indices, s.num_states};
}

int fla_run(const FlaProgram *handle, const FlaTensor *tensors, int64_t numTensors, const FlaShape *given, int64_t numThreads) {
  const Program &program = *handle->program;
  if (program.device) {
    lastError = "expected a program for the CPU, got one for '" + program.device->target() + "'; it runs with fla_run_on_device";
    return 1;
  }
  if (llvm::Error error = checkCall(program, tensors, numTensors, given)) {
    fail(std::move(error));
    return 1;
  }
  runtime::Shape shape = shapeOf(*given);
  if (std::string problem = runtime::checkShape(shape); !problem.empty()) {
    lastError = problem;
    return 1;
  }
  for (const Call &call : program.calls) {
    std::vector<runtime::Buffer> buffers;
    for (int64_t index : call.arguments)
      buffers.push_back(bufferOf(tensors[index], given->heads));
    if (!runtime::launch(call.kernel, buffers.data(), shape, numThreads)) {
      lastError = "no memory for the workspace of a kernel";
      return 1;
    }
  }
  return 0;
}

int fla_load_on_device(const FlaProgram *handle, int64_t device) {
  const Program &program = *handle->program;
  llvm::Error error = program.device ? program.device->prepare(device)
                                     : llvm::createStringError("expected a program for a GPU (target cuda:... or hip:...), got one for the CPU");
  if (!error)
    return 0;
  fail(std::move(error));
  return 1;
}

int fla_run_on_device(const FlaProgram *handle, const FlaTensor *tensors, int64_t numTensors, const FlaShape *given, int64_t device, void *stream) {
  const Program &program = *handle->program;
  if (!program.device) {
    lastError = "expected a program for a GPU (target cuda:... or hip:...), got one for the CPU; it runs with fla_run";
    return 1;
  }
  if (llvm::Error error = checkCall(program, tensors, numTensors, given)) {
    fail(std::move(error));
    return 1;
  }
  llvm::SmallVector<runtime::Buffer, 32> buffers;
  for (int64_t i = 0; i < numTensors; ++i)
    buffers.push_back(bufferOf(tensors[i], given->heads));
  runtime::Shape shape = shapeOf(*given);
  if (llvm::Error error = program.device->run(buffers, shape, device, stream)) {
    fail(std::move(error));
    return 1;
  }
  return 0;
}
