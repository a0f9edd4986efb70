//===- Table.cpp - how rows are shown -------------------------------------===//
#include "fla/Check/Ladder.h"

#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"
#include <cmath>

using namespace fla::check;

llvm::json::Value fla::check::toJSON(const Row &row) {
  llvm::json::Object object{{"phase", row.phase}, {"direction", row.direction}, {"form", row.form}, {"dtype", row.dtype},
                            {"case", row.worst},  {"tolerance", row.tolerance}, {"pass", row.passes()}};
  object["error"] = std::isfinite(row.error) ? llvm::json::Value(row.error) : llvm::json::Value(nullptr);
  if (!row.failure.empty())
    object["failure"] = row.failure;
  return object;
}

static std::string line(llvm::StringRef phase, llvm::StringRef direction, llvm::StringRef form, llvm::StringRef dtype,
                        llvm::StringRef error, llvm::StringRef tolerance, llvm::StringRef verdict, llvm::StringRef worst) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  stream << llvm::left_justify(phase, 14) << llvm::left_justify(direction, 10) << llvm::left_justify(form, 11)
         << llvm::left_justify(dtype, 6) << llvm::right_justify(error, 9) << llvm::right_justify(tolerance, 11) << "  "
         << llvm::left_justify(verdict, 6) << worst;
  return text;
}

static std::string scientific(double x) {
  std::string text;
  llvm::raw_string_ostream(text) << llvm::format("%.1e", x);
  return text;
}

std::string fla::check::tableHead() {
  return line("phase", "direction", "form", "dtype", "error", "tolerance", "", "worst case, or why not");
}

std::string fla::check::tableLine(const Row &row) {
  bool ran = row.failure.empty();
  return line(row.phase, row.direction, row.form, row.dtype, ran ? scientific(row.error) : "-", scientific(row.tolerance),
              row.passes() ? "pass" : "FAIL", ran ? row.worst : row.failure);
}
