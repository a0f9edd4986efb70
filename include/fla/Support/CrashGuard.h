//===- CrashGuard.h - surviving fatal errors of LLVM ------------*- C++ -*-===//
#ifndef FLA_SUPPORT_CRASHGUARD_H
#define FLA_SUPPORT_CRASHGUARD_H

#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/Support/CrashRecoveryContext.h"
#include <string>

namespace fla {

/// Runs code in which LLVM may end the process: code generators answer what they
/// cannot do with abort() or exit(). The signal handlers exist only while a guard
/// does, whatever number of threads compile.
class CrashGuard {
public:
  CrashGuard();
  ~CrashGuard();
  CrashGuard(const CrashGuard &) = delete;
  CrashGuard &operator=(const CrashGuard &) = delete;

  /// Whether `work` came to its end. If it did not, whatever it used is in an
  /// unknown state and better leaked than destroyed.
  bool run(llvm::function_ref<void()> work);

  /// LLVM's words for a fatal error; empty after any other crash.
  const std::string &reason() const { return text; }

private:
  llvm::CrashRecoveryContext context;
  std::string text;
};

} // namespace fla

#endif
