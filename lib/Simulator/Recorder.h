//===- Recorder.h - what a run finds ----------------------------*- C++ -*-===//
#ifndef FLA_LIB_SIMULATOR_RECORDER_H
#define FLA_LIB_SIMULATOR_RECORDER_H

#include "Program.h"

#include "llvm/ADT/MapVector.h"

namespace fla::sim {

/// Collects errors and counters by operation; one for each host thread, merged at the end.
class Recorder {
public:
  explicit Recorder(const Program &program) : program(program), shared(program.sites.size()), global(program.sites.size()) {}

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

  const Program &program;
  llvm::MapVector<std::pair<uint32_t, int>, Error> errors;
  std::vector<Shared> shared;
  std::vector<Global> global;
  uint64_t operations = 0;
};

} // namespace fla::sim

#endif // FLA_LIB_SIMULATOR_RECORDER_H
