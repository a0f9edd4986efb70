//===- Cubins.cpp - machine code of PTX, made once ------------------------===//
#include "fla/Runtime/Cubins.h"
#include "fla/Runtime/Cache.h"
#include "fla/Support/Threads.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"

#include <mutex>
#include <optional>

namespace fla::runtime {

//===----------------------------------------------------------------------===//
// A text for each kernel
//===----------------------------------------------------------------------===//

static bool isRemark(llvm::StringRef line) {
  line = line.trim();
  return line.empty() || line.starts_with("//");
}

static bool isEntry(llvm::StringRef line) { return line.starts_with(".visible .entry ") || line.starts_with(".entry "); }

/// A line before the first kernel that each kernel's text may repeat.
static bool isHead(llvm::StringRef line) {
  return isRemark(line) || llvm::any_of(llvm::ArrayRef<llvm::StringRef>{".version ", ".target ", ".address_size ", ".extern .shared "},
                                        [&](llvm::StringRef directive) { return line.starts_with(directive); });
}

/// LLVM writes what stands on top level, and a body's braces, at the start of a line.
std::vector<KernelCode> splitPtx(llvm::StringRef ptx) {
  enum { Between, Signature, Body } at = Between;
  std::vector<KernelCode> whole{{"", ptx.str()}}, parts;
  std::string head;
  for (llvm::StringRef rest = ptx; !rest.empty();) {
    llvm::StringRef line = rest.take_front(rest.find('\n') + (rest.contains('\n') ? 1 : 0));
    rest = rest.drop_front(line.size());
    if (at == Between && isEntry(line)) {
      llvm::StringRef name = line.split(".entry").second.ltrim().take_until([](char c) { return c == '(' || llvm::isSpace(c); });
      parts.push_back({name.str(), head});
      at = Signature;
    } else if (at == Between) {
      if (parts.empty() ? !isHead(line) : !isRemark(line))
        return whole;
      if (parts.empty())
        head += line;
      continue;
    }
    parts.back().bytes += line;
    if (at == Signature && line.starts_with("{"))
      at = Body;
    else if (at == Body && line.starts_with("}"))
      at = Between;
  }
  return parts.size() > 1 && at == Between ? parts : whole;
}

//===----------------------------------------------------------------------===//
// Cubins
//===----------------------------------------------------------------------===//

static std::string keyOf(const CubinRequest &request, const KernelCode &ptx) { return cacheKey({"cubin", request.chip, request.driver, ptx.bytes}); }

static void keep(const CubinRequest &request, const KernelCode &ptx, const std::string &cubin) {
  llvm::json::Object about{{"format", "cubin"}, {"kernel", ptx.kernel}, {"chip", request.chip}, {"driver", request.driver}};
  writeCache(keyOf(request, ptx), {llvm::formatv("{0}", llvm::json::Value(std::move(about))), cubin});
}

llvm::Expected<std::vector<KernelCode>> makeCubins(const CubinRequest &request, LinkPtx link) {
  std::vector<KernelCode> texts = splitPtx(request.ptx), cubins;
  std::vector<size_t> missing;
  for (const KernelCode &text : texts) {
    auto entry = request.fresh ? std::nullopt : readCache(keyOf(request, text));
    if (!entry)
      missing.push_back(cubins.size());
    cubins.push_back({text.kernel, entry ? std::move(entry->object) : "", entry.has_value()});
  }
  // The longest first: it is waited for in any case.
  llvm::sort(missing, [&](size_t a, size_t b) { return texts[a].bytes.size() > texts[b].bytes.size(); });
  std::mutex mutex;
  llvm::Error error = llvm::Error::success();
  forEachOnThreads(missing.size(), request.threads, [&](size_t i) {
    const KernelCode &text = texts[missing[i]];
    llvm::Expected<std::string> cubin = link(text);
    if (!cubin) {
      std::lock_guard lock(mutex);
      if (error)
        llvm::consumeError(cubin.takeError());
      else
        error = cubin.takeError();
      return;
    }
    keep(request, text, *cubin);
    cubins[missing[i]].bytes = std::move(*cubin);
  });
  if (error)
    return std::move(error);
  return cubins;
}

} // namespace fla::runtime
