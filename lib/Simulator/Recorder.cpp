//===- Recorder.cpp - what a run finds, and how it is told ----------------===//
#include "Recorder.h"

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Operation.h"
#include "llvm/Support/Format.h"

using namespace fla::sim;

llvm::StringRef fla::sim::name(ErrorKind kind) {
  switch (kind) {
  case ErrorKind::OutOfBounds:
    return "out-of-bounds";
  case ErrorKind::ReadOnly:
    return "read-only";
  case ErrorKind::Misaligned:
    return "misaligned";
  case ErrorKind::Uninitialised:
    return "uninitialised";
  case ErrorKind::Race:
    return "race";
  case ErrorKind::MissingWait:
    return "missing wait";
  case ErrorKind::Divergence:
    return "divergence";
  case ErrorKind::Operand:
    return "operand";
  case ErrorKind::Limit:
    return "limit";
  case ErrorKind::Unsupported:
    return "unsupported";
  }
  return "unknown";
}

void Recorder::error(ErrorKind kind, uint32_t site, int64_t block, int64_t thread, const llvm::Twine &message) {
  auto [entry, isNew] = errors.try_emplace({site, static_cast<int>(kind)});
  if (!isNew) {
    ++entry->second.count;
    return;
  }
  mlir::Operation *op = program.sites[site];
  entry->second = {kind, locationOf(op), op->getName().getStringRef().str(), block, thread, message.str()};
}

void Recorder::merge(const Recorder &other) {
  operations += other.operations;
  for (const auto &[key, error] : other.errors) {
    auto [entry, isNew] = errors.try_emplace(key, error);
    if (!isNew)
      entry->second.count += error.count;
  }
  for (size_t i = 0; i < shared.size(); ++i) {
    shared[i].phases += other.shared[i].phases;
    shared[i].cycles += other.shared[i].cycles;
    shared[i].ways = std::max(shared[i].ways, other.shared[i].ways);
    global[i].requests += other.global[i].requests;
    global[i].sectors += other.global[i].sectors;
    global[i].minimal += other.global[i].minimal;
  }
}

static bool isRepeated(mlir::Operation *op) { return op->getParentOfType<mlir::scf::ForOp>() || op->getParentOfType<mlir::scf::WhileOp>(); }

Report Recorder::report() const {
  Report report;
  report.operations = operations;
  for (const auto &[key, error] : errors)
    report.errors.push_back(error);
  for (auto [i, op] : llvm::enumerate(program.sites)) {
    std::string operation = op->getName().getStringRef().str();
    if (shared[i].phases)
      report.shared.push_back({locationOf(op), operation, shared[i].phases, shared[i].cycles, shared[i].ways, isRepeated(op)});
    if (global[i].requests)
      report.global.push_back({locationOf(op), operation, global[i].requests, global[i].sectors, global[i].minimal});
  }
  return report;
}

//===----------------------------------------------------------------------===//
// Report
//===----------------------------------------------------------------------===//

uint64_t Report::count(ErrorKind kind) const {
  uint64_t total = 0;
  for (const Error &error : errors)
    total += error.kind == kind ? error.count : 0;
  return total;
}

unsigned Report::worstConflict() const {
  unsigned worst = 0;
  for (const SharedAccess &access : shared)
    worst = std::max(worst, access.ways);
  return worst;
}

void Report::print(llvm::raw_ostream &out, unsigned ways) const {
  for (const Error &error : errors)
    out << error.location << ": " << name(error.kind) << ": " << error.operation << ": block " << error.block << ", thread " << error.thread << ": "
        << error.message << (error.count > 1 ? " (" + std::to_string(error.count) + " times)" : "") << "\n";
  for (const SharedAccess &access : shared)
    if (access.ways > ways)
      out << access.location << ": bank conflict: " << access.operation << ": " << access.ways << "-way at worst, "
          << llvm::format("%.2f", double(access.cycles) / access.phases) << " on average\n";
  for (const GlobalAccess &access : global)
    if (access.sectors > 2 * access.minimal)
      out << access.location << ": uncoalesced: " << access.operation << ": " << access.sectors << " sectors where " << access.minimal
          << " would do\n";
  out << errors.size() << " kinds of errors, " << operations << " thread-operations\n";
}
