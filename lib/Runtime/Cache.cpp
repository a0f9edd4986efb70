//===- Cache.cpp - compiled code on disk ----------------------------------===//
#include "fla/Runtime/Cache.h"
#include "fla/Support/Knobs.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/SHA256.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace fla::runtime {
namespace {

constexpr const char *kSuffix = ".flaobj";

void warnOnce(const std::string &what) {
  static std::atomic<bool> warned{false};
  if (!warned.exchange(true))
    std::fprintf(stderr, "fla: warning: %s; compiling without the cache\n", what.c_str());
}

std::string sha256(llvm::StringRef bytes) {
  auto digest = llvm::SHA256::hash(llvm::arrayRefFromStringRef(bytes));
  return llvm::toHex(digest, /*LowerCase=*/true);
}

/// Creates the folder, parents included; only its owner may look into it.
bool makeFolder(const std::string &folder) {
  for (size_t at = folder.find('/', 1); at != std::string::npos; at = folder.find('/', at + 1))
    mkdir(folder.substr(0, at).c_str(), 0700);
  if (mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST)
    return false;
  struct stat info;
  // Code from a folder that others can write to is not to be run.
  if (stat(folder.c_str(), &info) != 0 || !S_ISDIR(info.st_mode) || info.st_uid != geteuid()) {
    errno = EPERM;
    return false;
  }
  return (info.st_mode & 077) == 0 || chmod(folder.c_str(), 0700) == 0;
}

/// The folder, ready for use, or empty (after a warning).
std::string openFolder() {
  std::string folder = knobs::cacheDirectory();
  if (folder.empty())
    return "";
  if (makeFolder(folder) && access(folder.c_str(), R_OK | W_OK | X_OK) == 0)
    return folder;
  warnOnce("cannot use the cache folder " + folder + " (" + std::strerror(errno) + ")");
  return "";
}

std::optional<std::string> readFile(const std::string &path) {
  int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0)
    return std::nullopt;
  std::string bytes;
  char buffer[1 << 16];
  ssize_t got;
  while ((got = read(file, buffer, sizeof buffer)) > 0)
    bytes.append(buffer, got);
  close(file);
  if (got < 0)
    return std::nullopt;
  return bytes;
}

bool writeFile(const std::string &path, llvm::StringRef bytes) {
  int file = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file < 0)
    return false;
  while (!bytes.empty()) {
    ssize_t put = write(file, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR)
      continue;
    if (put <= 0)
      break;
    bytes = bytes.drop_front(put);
  }
  return (close(file) == 0) && bytes.empty();
}

std::optional<CacheEntry> parseEntry(llvm::StringRef bytes, const std::string &key) {
  auto [header, rest] = bytes.split('\n');
  auto parsed = llvm::json::parse(header);
  if (!parsed) {
    llvm::consumeError(parsed.takeError());
    return std::nullopt;
  }
  const llvm::json::Object *object = parsed->getAsObject();
  if (!object || object->getInteger("fla") != 1 || object->getString("key") != llvm::StringRef(key))
    return std::nullopt;
  auto size = object->getInteger("manifest_size");
  if (!size || *size < 0 || static_cast<size_t>(*size) > rest.size() || object->getString("sha256") != llvm::StringRef(sha256(rest)))
    return std::nullopt;
  return CacheEntry{rest.take_front(*size).str(), rest.drop_front(*size).str()};
}

/// Removes the entries used longest ago until the rest fits.
void shrink(const std::string &folder) {
  struct File {
    std::string path;
    int64_t size;
    struct timespec used;
  };
  std::vector<File> files;
  int64_t total = 0;
  DIR *dir = opendir(folder.c_str());
  if (!dir)
    return;
  while (dirent *item = readdir(dir)) {
    llvm::StringRef name(item->d_name);
    struct stat info;
    std::string path = folder + "/" + name.str();
    if (!name.contains(kSuffix) || lstat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode))
      continue;
    total += info.st_size;
    files.push_back({path, info.st_size, info.st_mtim});
  }
  closedir(dir);
  std::sort(files.begin(), files.end(), [](const File &x, const File &y) {
    return std::tie(x.used.tv_sec, x.used.tv_nsec, x.path) < std::tie(y.used.tv_sec, y.used.tv_nsec, y.path);
  });
  for (const File &file : files) {
    if (total <= knobs::cacheBytes())
      return;
    if (unlink(file.path.c_str()) == 0)
      total -= file.size;
  }
}

} // namespace

std::string cacheKey(const std::vector<std::string> &parts) {
  std::string all;
  for (const std::string &part : parts)
    all += std::to_string(part.size()) + ":" + part;
  return sha256(all);
}

std::optional<CacheEntry> readCache(const std::string &key) {
  if (!knobs::useCache())
    return std::nullopt;
  std::string folder = openFolder();
  if (folder.empty())
    return std::nullopt;
  std::string path = folder + "/" + key + kSuffix;
  std::optional<std::string> bytes = readFile(path);
  if (!bytes)
    return std::nullopt;
  std::optional<CacheEntry> entry = parseEntry(*bytes, key);
  if (entry)
    utimensat(AT_FDCWD, path.c_str(), nullptr, 0);
  else
    warnOnce("the cache entry " + path + " is damaged");
  return entry;
}

void writeCache(const std::string &key, const CacheEntry &entry) {
  if (!knobs::useCache())
    return;
  std::string folder = openFolder();
  if (folder.empty())
    return;
  std::string rest = entry.manifest + entry.object;
  llvm::json::Object header{{"fla", 1}, {"key", key}, {"sha256", sha256(rest)}, {"manifest_size", static_cast<int64_t>(entry.manifest.size())}};
  std::string text;
  llvm::raw_string_ostream(text) << llvm::json::Value(std::move(header)) << '\n' << rest;
  static std::atomic<int64_t> counter{0};
  std::string path = folder + "/" + key + kSuffix;
  std::string temporary = path + ".tmp" + std::to_string(getpid()) + "." + std::to_string(counter++);
  if (!writeFile(temporary, text) || rename(temporary.c_str(), path.c_str()) != 0) {
    warnOnce("cannot write the cache entry " + path + " (" + std::strerror(errno) + ")");
    unlink(temporary.c_str());
    return;
  }
  shrink(folder);
}

} // namespace fla::runtime
