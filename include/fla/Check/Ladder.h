//===- Ladder.h - every phase against the token loop ------------*- C++ -*-===//
//
// The verification ladder: a definition is compiled phase by phase, what each
// phase made of it is executed, and its results and gradients are compared with
// the float64 token loop and its reverse sweep. A wrong rewrite names itself.
//
//===----------------------------------------------------------------------===//
#ifndef FLA_CHECK_LADDER_H
#define FLA_CHECK_LADDER_H

#include "fla/Check/Answer.h"
#include "fla/Pipelines/Pipelines.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/JSON.h"

namespace fla::check {

/// One line of the table: the worst of all cases tried.
struct Row {
  std::string phase, direction, form, dtype;
  std::string worst; ///< the case and the value with the largest error
  double error = 0.0, tolerance = 0.0;
  std::string failure; ///< why nothing could be compared, if so
  bool passes() const { return failure.empty() && error <= tolerance; }
};

struct LadderOptions {
  bool quick = false; ///< two cases in place of all
  Sizes dims;         ///< sizes that are not chosen here
  uint64_t seed = 1;
  std::vector<std::string> forms = {"chunk", "recurrent"};
  std::vector<std::string> dtypes = {"f64", "f32", "bf16", "f16"};
  std::string target = "cpu"; ///< whose kernels the interpreter runs; those of a GPU are not compiled further
  Phase until = Phase::Target;
};

/// Inputs that the ladder draws for a definition.
std::vector<Case> ladderCases(RecurrenceOp definition, bool quick);

/// Checks one definition of a module; the module is not changed. `onRow` sees
/// each row as soon as it is known.
std::vector<Row> runLadder(RecurrenceOp definition, const LadderOptions &options, llvm::function_ref<void(const Row &)> onRow);

/// The ladder for the definitions in MLIR text: rows as JSON objects. `options` is
/// a JSON object; its keys are those of LadderOptions, and `entry`, the name of
/// the only definition to check.
llvm::Expected<llvm::json::Array> checkText(llvm::StringRef source, llvm::StringRef options);

llvm::json::Value toJSON(const Row &row);
/// The head of a table, and one of its lines.
std::string tableHead();
std::string tableLine(const Row &row);

} // namespace fla::check

#endif
