//===- Recorder.h - what a run finds ----------------------------*- C++ -*-===//
#ifndef FLA_LIB_SIMULATOR_RECORDER_H
#define FLA_LIB_SIMULATOR_RECORDER_H

#include "Program.h"

#include "llvm/ADT/MapVector.h"
#include <array>

namespace fla::sim {

/// Collects errors and counters by operation; one for each host thread, merged at the end.
class Recorder {
public:
  explicit Recorder(const Program &program)
      : program(program), shared(program.sites.size()), global(program.sites.size()), sharedPatterns(program.sites.size()),
        globalPatterns(program.sites.size()) {}

  void error(ErrorKind kind, uint32_t site, int64_t block, int64_t thread, const llvm::Twine &message);
  void merge(const Recorder &other);
  Report report() const;

  struct Shared {
    uint64_t phases = 0, cycles = 0;
    unsigned ways = 0;
  };
  struct Global {
    uint64_t requests = 0, sectors = 0, minimal = 0;
  };

  /// The last warp's addresses relative to its first active lane's, which come
  /// again and again: what they cost depends on little else.
  struct Pattern {
    std::array<uint64_t, 64> offsets;
    uint64_t rest = ~uint64_t(0); ///< of the first address, as far as it matters
    Shared shared;
    Global global;
  };

  const Program &program;
  llvm::MapVector<std::pair<uint32_t, int>, Error> errors;
  std::vector<Shared> shared;
  std::vector<Global> global;
  std::vector<Pattern> sharedPatterns, globalPatterns;
  uint64_t operations = 0;
};

} // namespace fla::sim

#endif // FLA_LIB_SIMULATOR_RECORDER_H
