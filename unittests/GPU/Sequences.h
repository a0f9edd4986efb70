//===- Sequences.h - several sequences and heads of a definition -*- C++ -*-===//
//
// A launch with its exact answer. Every sequence of every head is a problem of
// its own, which the token loop in float64 solves with its reverse sweep; here
// they are laid side by side in the buffers that kernels take, and results are
// taken apart again.
//
//===----------------------------------------------------------------------===//
#ifndef FLA_UNITTESTS_GPU_SEQUENCES_H
#define FLA_UNITTESTS_GPU_SEQUENCES_H

#include "Simulated.h"

#include "fla/Check/Answer.h"

#include <random>

namespace fla::testing {

/// Sizes and inputs of a launch.
struct Setting {
  interp::Sizes dims;
  check::Case kind;             ///< `tokens` is not used
  std::vector<int64_t> lengths; ///< of the sequences
  bool packed = false;          ///< by cu_seqlens; otherwise lengths are equal, one batch entry each
  int64_t heads = 2;            ///< of the launch
  int64_t group = 1;            ///< heads of the launch for one head of q and k
  int64_t spareRows = 0;        ///< behind the last packed sequence
};

class Sequences {
public:
  static llvm::Expected<Sequences> draw(RecurrenceOp definition, const Setting &setting, uint64_t seed);

  /// Rounds the inputs to what the buffers of compiled modules hold, and solves.
  llvm::Error solve(llvm::ArrayRef<mlir::ModuleOp> modules);

  interp::Launch launch() const;
  /// What a caller passes to a module's kernels; rows of no sequence are NaN.
  interp::Buffers given(mlir::ModuleOp module) const;
  /// Errors of what a module's kernels wrote, by its name.
  std::map<std::string, double> compare(mlir::ModuleOp module, const std::map<std::string, std::vector<double>> &written) const;
  /// What the exact results change by if what goes into products (inputs but log gates,
  /// initial states, gradients of results) moves by up to `unit` of itself, at random: the
  /// root mean square of a few draws. The error of an ideal program that rounds once.
  llvm::Expected<std::map<std::string, double>> sensitivity(double unit) const;

private:
  Sequences(RecurrenceOp definition, const Setting &setting) : definition(definition), setting(setting) {}
  using Place = std::pair<int64_t, int64_t>; ///< sequence, head

  void move(double unit, std::mt19937_64 &random);
  llvm::Expected<std::map<Place, check::Answer>> answersOf() const;
  std::map<std::string, double> errorsOf(const std::map<Place, check::Answer> &results) const;
  int64_t headOf(llvm::StringRef name, int64_t head) const;
  int64_t headsOf(llvm::StringRef name) const;
  int64_t firstRow(int64_t sequence) const;
  void share();
  int64_t position(tile::BufferType type, Place place, int64_t heads, int64_t head) const;
  interp::HostBuffer assemble(llvm::StringRef role, llvm::StringRef name, tile::BufferType type) const;
  interp::Tensor<double> slice(tile::BufferType type, const std::vector<double> &data, Place place) const;

  RecurrenceOp definition;
  Setting setting;
  std::map<Place, check::Problem> problems;
  std::map<Place, check::Answer> answers;
};

} // namespace fla::testing

#endif
