//===- Cache.h - compiled code on disk --------------------------*- C++ -*-===//
//
// One file an entry, named by the SHA-256 of all that the code depends on:
//
//   line 1: {"fla":1,"key":"<hex>","sha256":"<hex of the rest>","manifest_size":123}
//   then:   the manifest, a JSON text of "manifest_size" bytes
//   then:   the object file, PTX, hsaco, or the cubin that a driver made of PTX
//
// Entries are written to a temporary file and renamed, so that other processes
// see all of an entry or nothing. A cache that cannot be read or written costs a
// warning (one for each process) and a compilation, never a failure.
//
//===----------------------------------------------------------------------===//
#ifndef FLA_RUNTIME_CACHE_H
#define FLA_RUNTIME_CACHE_H

#include <optional>
#include <string>
#include <vector>

namespace fla::runtime {

/// What a compilation leaves behind.
struct CacheEntry {
  std::string manifest; ///< JSON, the caller's
  std::string object;
};

/// Key of an entry: SHA-256 (hex) of the parts, each with its length.
std::string cacheKey(const std::vector<std::string> &parts);

/// The entry, if the cache is on and holds an intact one.
std::optional<CacheEntry> readCache(const std::string &key);

/// Stores an entry, then removes the oldest ones above FLA_CACHE_MB.
void writeCache(const std::string &key, const CacheEntry &entry);

} // namespace fla::runtime

#endif
