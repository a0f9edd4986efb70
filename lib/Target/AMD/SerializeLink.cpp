//===- SerializeLink.cpp - objects to code objects, by lld ----------------===//
#include "fla/Target/AMD/AMD.h"

#include "lld/Common/Driver.h"
#include "mlir/IR/Diagnostics.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/MemoryBuffer.h"

LLD_HAS_DRIVER(elf)

using namespace mlir;

namespace fla::amd {

/// lld keeps what it does in global variables: one link at a time, and none after
/// a crash. It also resets LLVM's command line options to their defaults. Returns what
/// it complained about.
static std::string runLinker(llvm::ArrayRef<const char *> arguments) {
  static bool usable = true;
  std::unique_lock lock(gpu::optionsMutex());
  if (!usable)
    return "lld crashed earlier in this process";
  std::string text;
  llvm::raw_string_ostream stream(text);
  lld::Result result = lld::lldMain(arguments, llvm::nulls(), stream, {{lld::Gnu, &lld::elf::link}});
  usable = result.canRunAgain;
  if (result.retCode != 0 && text.empty())
    return "lld ended with status " + std::to_string(result.retCode);
  return result.retCode == 0 ? "" : text;
}

FailureOr<std::string> link(StringRef object, Location location) {
  llvm::SmallString<128> input, output;
  for (auto [path, ending] : {std::pair(&input, "o"), std::pair(&output, "hsaco")})
    if (std::error_code error = llvm::sys::fs::createTemporaryFile("fla", ending, *path))
      return emitError(location) << "expected a folder for temporary files, got: " << error.message();
  llvm::FileRemover removeInput(input), removeOutput(output);
  if (llvm::Error error = llvm::writeToOutput(input, [&](llvm::raw_ostream &os) { return os << object, llvm::Error::success(); }))
    return emitError(location) << "cannot write '" << input << "': " << llvm::toString(std::move(error));
  std::string complaint = runLinker({"ld.lld", "-shared", "--no-undefined", "--threads=1", input.c_str(), "-o", output.c_str()});
  if (!complaint.empty())
    return emitError(location) << "expected a code object from lld: " << StringRef(complaint).rtrim();
  auto buffer = llvm::MemoryBuffer::getFile(output, /*IsText=*/false, /*RequiresNullTerminator=*/false);
  if (!buffer)
    return emitError(location) << "cannot read '" << output << "': " << buffer.getError().message();
  return (*buffer)->getBuffer().str();
}

} // namespace fla::amd
