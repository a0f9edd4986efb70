//===- CrashGuard.cpp - surviving fatal errors of LLVM --------------------===//
#include "fla/Support/CrashGuard.h"

#include "llvm/Support/ErrorHandling.h"

#include <mutex>

namespace fla {

static std::mutex &usersMutex() {
  static std::mutex mutex;
  return mutex;
}
static int users = 0;

/// Where this thread's fatal error is to be described; null outside of `run`.
static thread_local std::string *reasonOfThread = nullptr;

/// Leaves the guarded code. Some fatal errors would otherwise call exit(), which
/// no signal handler sees.
static void onFatalError(void *, const char *reason, bool) {
  if (reasonOfThread)
    *reasonOfThread = reason;
  if (llvm::CrashRecoveryContext *context = llvm::CrashRecoveryContext::GetCurrent())
    context->HandleExit(1);
}

CrashGuard::CrashGuard() {
  std::lock_guard lock(usersMutex());
  if (users++ > 0)
    return;
  llvm::CrashRecoveryContext::Enable();
  llvm::install_fatal_error_handler(onFatalError);
}

CrashGuard::~CrashGuard() {
  std::lock_guard lock(usersMutex());
  if (--users > 0)
    return;
  llvm::remove_fatal_error_handler();
  llvm::CrashRecoveryContext::Disable();
}

bool CrashGuard::run(llvm::function_ref<void()> work) {
  std::string *outer = reasonOfThread;
  reasonOfThread = &text;
  bool survived = context.RunSafely(work);
  reasonOfThread = outer;
  return survived;
}

} // namespace fla
