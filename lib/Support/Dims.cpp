//===- Dims.cpp - sizes of named dimensions -------------------------------===//
#include "fla/Support/Dims.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringExtras.h"

using namespace fla;

namespace {
/// Recursive descent over `sum := product ('+' product)*`, `product := atom ('*' atom)*`.
struct DimParser {
  llvm::StringRef text;
  llvm::function_ref<std::optional<int64_t>(llvm::StringRef)> sizeOf;

  bool take(char c) {
    text = text.ltrim();
    return text.consume_front(llvm::StringRef(&c, 1));
  }
  std::optional<int64_t> atom() {
    if (take('(')) {
      auto inner = sum();
      return inner && take(')') ? inner : std::nullopt;
    }
    text = text.ltrim();
    int64_t number;
    if (!text.empty() && llvm::isDigit(text.front()))
      return text.consumeInteger(10, number) ? std::nullopt : std::optional(number);
    llvm::StringRef name = text.take_while([](char c) { return llvm::isAlnum(c) || c == '_'; });
    text = text.drop_front(name.size());
    while (text.consume_front("'")) {
    }
    return name.empty() ? std::nullopt : sizeOf(name);
  }
  std::optional<int64_t> product() {
    auto value = atom();
    while (value && take('*')) {
      auto next = atom();
      value = next ? std::optional(*value * *next) : std::nullopt;
    }
    return value;
  }
  std::optional<int64_t> sum() {
    auto value = product();
    while (value && take('+')) {
      auto next = product();
      value = next ? std::optional(*value + *next) : std::nullopt;
    }
    return value;
  }
  std::optional<int64_t> run() {
    auto value = sum();
    return text.trim().empty() ? value : std::nullopt;
  }
};
} // namespace

std::optional<int64_t> fla::evaluateDim(llvm::StringRef expression, const llvm::StringMap<int64_t> &sizes) {
  auto sizeOf = [&](llvm::StringRef name) -> std::optional<int64_t> {
    auto it = sizes.find(name);
    return it == sizes.end() ? std::nullopt : std::optional(it->second);
  };
  return DimParser{expression, sizeOf}.run();
}

void fla::collectDimNames(llvm::StringRef expression, llvm::StringMap<int64_t> &names) {
  auto note = [&](llvm::StringRef name) -> std::optional<int64_t> {
    names.try_emplace(name, 0);
    return 1;
  };
  DimParser{expression, note}.run();
}
