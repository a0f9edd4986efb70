// LLVM's link-time optimizer, which lld brings, names Polly where the distribution
// built LLVM with it; no pass of it is wanted.
#include "llvm/Plugins/PassPlugin.h"

llvm::PassPluginLibraryInfo getPollyPluginInfo() {
  return {LLVM_PLUGIN_API_VERSION, "NoPolly", "0", [](llvm::PassBuilder &) {}};
}
