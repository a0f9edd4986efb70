//===- RecurrenceClass.h - the class of each state --------------*- C++ -*-===//
#ifndef FLA_ANALYSIS_RECURRENCECLASS_H
#define FLA_ANALYSIS_RECURRENCECLASS_H

#include "fla/Dialect/FLA/IR/FLA.h"

namespace fla {

/// What the chunk form of a state depends on (MATH: the catalogue's columns).
struct StateClass {
  enum Gate { None, Constant, Scalar, Row, Column, Both };
  bool isElementwise = false;
  ScanKind scan = ScanKind::linear;
  Gate gate = None;
  unsigned writes = 0;       ///< rank-1 writes a token
  unsigned solveRows = 0;    ///< writes that read the state
  bool readsBefore = false;  ///< some write reads before the decay
  bool transposed = false;   ///< runs on S^T

  /// One line, for instance "matrix state, scalar gate, 1 write a token, solve rank 1, reads after the decay".
  std::string describe() const;
};

/// The class of a state of a canonical program.
StateClass classify(ProgramOp program, unsigned state);

} // namespace fla

#endif
