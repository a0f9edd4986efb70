//===- SerializePtxas.cpp - PTX to cubins, by NVIDIA's assembler ----------===//
#include "fla/Support/Knobs.h"
#include "fla/Target/NVIDIA/NVIDIA.h"

#include "mlir/IR/Diagnostics.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"

#include <chrono>
#include <csignal>
#include <thread>

using namespace mlir;

namespace fla::nvidia {

/// Longer than any kernel takes on a slow machine; a hanging ptxas is ended then.
static constexpr std::chrono::seconds kTimeout(300);

std::string findPtxas() {
  auto in = [](StringRef folder) {
    llvm::SmallString<128> path(folder);
    llvm::sys::path::append(path, "bin", "ptxas");
    return llvm::sys::fs::can_execute(path) ? path.str().str() : "";
  };
  if (std::string home = knobs::cudaHome(); !home.empty())
    if (std::string path = in(home); !path.empty())
      return path;
  if (auto path = llvm::sys::findProgramByName("ptxas"))
    return *path;
  return in("/usr/local/cuda");
}

//===----------------------------------------------------------------------===//
// Its report
//===----------------------------------------------------------------------===//

/// The number before `unit`, as in "0 bytes spill stores".
static int64_t numberBefore(StringRef line, StringRef unit) {
  size_t at = line.find(unit);
  if (at == StringRef::npos)
    return 0;
  StringRef head = line.take_front(at).rtrim();
  StringRef digits = head.take_back(head.size() - (head.find_last_not_of("0123456789") + 1));
  int64_t value = 0;
  (void)digits.getAsInteger(10, value);
  return value;
}

void readPtxasReport(StringRef report, std::vector<gpu::KernelResources> &kernels) {
  gpu::KernelResources *current = nullptr;
  llvm::SmallVector<StringRef> lines;
  report.split(lines, '\n');
  for (StringRef line : lines) {
    if (line.contains("Compiling entry function '")) {
      StringRef name = line.split('\'').second.split('\'').first;
      auto found = llvm::find_if(kernels, [&](const gpu::KernelResources &kernel) { return kernel.name == name; });
      current = found == kernels.end() ? nullptr : &*found;
    } else if (current && line.contains("bytes spill stores")) {
      current->stackBytes = numberBefore(line, " bytes stack frame");
      current->spillBytes = numberBefore(line, " bytes spill stores") + numberBefore(line, " bytes spill loads");
    } else if (current && line.contains(" registers")) {
      current->registers = numberBefore(line, " registers");
      current->sharedBytes = current->dynamicSharedBytes + numberBefore(line, " bytes smem");
    }
  }
}

//===----------------------------------------------------------------------===//
// Running it
//===----------------------------------------------------------------------===//

namespace {
/// A file that is removed with this.
struct TemporaryFile {
  explicit TemporaryFile(StringRef ending) { error = llvm::sys::fs::createTemporaryFile("fla", ending, path); }
  ~TemporaryFile() {
    if (!error)
      llvm::sys::fs::remove(path);
  }
  std::string read() const {
    auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/false, /*RequiresNullTerminator=*/false);
    return buffer ? (*buffer)->getBuffer().str() : "";
  }
  llvm::SmallString<128> path;
  std::error_code error;
};

enum class Outcome { Done, Failed, TimedOut };
} // namespace

/// Waits for a child without signals: alarms would be those of the host program.
static Outcome waitFor(const llvm::sys::ProcessInfo &child, std::string &message) {
  auto deadline = std::chrono::steady_clock::now() + kTimeout;
  while (std::chrono::steady_clock::now() < deadline) {
    llvm::sys::ProcessInfo state = llvm::sys::Wait(child, 0, &message, nullptr, /*Polling=*/true);
    if (state.Pid == child.Pid)
      return state.ReturnCode == 0 ? Outcome::Done : Outcome::Failed;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  kill(child.Pid, SIGKILL);
  llvm::sys::Wait(child, std::nullopt);
  return Outcome::TimedOut;
}

static Outcome runPtxas(StringRef program, llvm::ArrayRef<StringRef> arguments, StringRef log, std::string &message) {
  bool failedToStart = false;
  std::optional<StringRef> redirects[] = {StringRef(""), log, log};
  llvm::sys::ProcessInfo child = llvm::sys::ExecuteNoWait(program, arguments, std::nullopt, redirects, 0, &message, &failedToStart);
  if (failedToStart || child.Pid == llvm::sys::ProcessInfo::InvalidPid)
    return Outcome::Failed;
  return waitFor(child, message);
}

/// What to show of a failed run: its first lines that say something.
static std::string excerpt(StringRef log) {
  llvm::SmallVector<StringRef> lines;
  log.split(lines, '\n', -1, /*KeepEmpty=*/false);
  llvm::erase_if(lines, [](StringRef line) { return line.contains("ptxas info"); });
  lines.truncate(std::min<size_t>(lines.size(), 5));
  return llvm::join(lines, "\n");
}

FailureOr<std::string> assemble(StringRef ptx, const gpu::Chip &chip, std::vector<gpu::KernelResources> &kernels, Location location) {
  std::string program = findPtxas();
  if (program.empty())
    return emitError(location)
           << "expected ptxas of the CUDA toolkit to make a cubin, found none in CUDA_HOME, PATH and /usr/local/cuda; PTX needs none";
  TemporaryFile input("ptx"), output("cubin"), log("log");
  for (const TemporaryFile *file : {&input, &output, &log})
    if (file->error)
      return emitError(location) << "expected a folder for temporary files, got: " << file->error.message();
  if (llvm::Error error = llvm::writeToOutput(input.path, [&](llvm::raw_ostream &os) { return os << ptx, llvm::Error::success(); }))
    return emitError(location) << "cannot write '" << input.path << "': " << llvm::toString(std::move(error));
  std::string architecture = ("-arch=" + chip.name).str(), message;
  Outcome outcome = runPtxas(program, {program, architecture, "-O3", "-v", input.path, "-o", output.path}, log.path, message);
  std::string text = log.read();
  if (outcome == Outcome::TimedOut)
    return emitError(location) << program << " took longer than " << kTimeout.count() << " s for " << chip.name.str() << " and was ended";
  if (outcome == Outcome::Failed)
    return emitError(location) << program << " refused the PTX for " << chip.name.str() << ": " << (text.empty() ? message : excerpt(text));
  readPtxasReport(text, kernels);
  return output.read();
}

} // namespace fla::nvidia
