//===- Cubins.h - machine code of PTX, made once ----------------*- C++ -*-===//
//
// NVIDIA's driver compiles PTX to a cubin, which takes about a second for 150 KB of
// text. Kernels of one text do not refer to each other: each is compiled by itself,
// several at once, and its cubin stays in the on-disk cache (Cache.h).
//
//===----------------------------------------------------------------------===//
#ifndef FLA_RUNTIME_CUBINS_H
#define FLA_RUNTIME_CUBINS_H

#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <cstdint>
#include <string>
#include <vector>

namespace fla::runtime {

/// Code of one kernel; of all kernels, and without a name, if it is not to be divided.
struct KernelCode {
  std::string kernel;
  std::string bytes;
  bool cached = false; ///< read from disk
};

/// A PTX text for each kernel of a text. A text with more in it than kernels and the
/// shared memory that a launch gives them (functions, variables) stays whole.
std::vector<KernelCode> splitPtx(llvm::StringRef ptx);

/// PTX to a cubin. Called by several threads.
using LinkPtx = llvm::function_ref<llvm::Expected<std::string>(const KernelCode &ptx)>;

struct CubinRequest {
  llvm::StringRef ptx;
  std::string chip;   ///< of the device: sm_90
  std::string driver; ///< all that tells one PTX compiler from another
  int64_t threads = 1;
  bool fresh = false; ///< read nothing from the cache
};

/// The cubins of a PTX text: what the cache has, and what `link` makes of the rest, which
/// the cache then has. What failed first, if anything does.
llvm::Expected<std::vector<KernelCode>> makeCubins(const CubinRequest &request, LinkPtx link);

} // namespace fla::runtime

#endif
