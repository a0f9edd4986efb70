// One definition of each class: what normalisation makes of it.

// A scalar gate and a solve: one row, read after the decay (version 0).
// RUN: fla-opt %models/gated_delta_rule.mlir --fla-normalize-recurrence | FileCheck %s --check-prefix=SCALAR
// SCALAR-COUNT-1: fla.affine %S row_gate(%g) writes(%k) values({{.*}}) reads({{.*}}) queries({{.*}}) {query_on_rows = array<i1: true>, query_versions = array<i64: 1>, read_rows = array<i64: 0>, read_versions = array<i64: 0>, row_axis = 0 : i64}
// SCALAR-NOT: fla.{{affine|scan}}

// Gates on both axes and nothing to solve.
// RUN: fla-opt %models/gla.mlir --fla-normalize-recurrence | FileCheck %s --check-prefix=BOTH
// BOTH: fla.affine %S row_gate(%gk) column_gate(%gv) writes(%k) values(%v) queries(

// A chain of two states: the first decays along its columns, the second its rows.
// RUN: fla-opt %models/gsa.mlir --fla-normalize-recurrence | FileCheck %s --check-prefix=CHAIN
// CHAIN: fla.affine %Hk column_gate(%g) writes(%k) values(%s)
// CHAIN: fla.softmax
// CHAIN: fla.affine %Hv row_gate(%g) writes(%s) values(%v)

// Elementwise: no matrix state at all.
// RUN: fla-opt %models/hgrn.mlir --fla-normalize-recurrence | FileCheck %s --check-prefix=ELEMENTWISE
// ELEMENTWISE: fla.scan linear %h, {{.*}}, %x
// ELEMENTWISE-NOT: fla.affine

// A running maximum and the two sums that it keeps in range.
// RUN: fla-opt %models/rwkv4.mlir --fla-normalize-recurrence | FileCheck %s --check-prefix=MAXIMUM
// MAXIMUM: fla.scan max %m, {{.*}}, %k
// MAXIMUM: fla.scan linear %num,
// MAXIMUM: fla.scan linear %den,

// A read of the incoming state (version -1).
// RUN: fla-opt %models/comba.mlir --fla-normalize-recurrence | FileCheck %s --check-prefix=BEFORE
// BEFORE: fla.affine %S row_gate(%g) writes(%k) {{.*}} read_rows = array<i64: 0>, read_versions = array<i64: -1>

// Two rows a token, each reading what the one before it wrote.
// RUN: fla-opt %models/gated_delta_product.mlir --fla-normalize-recurrence | FileCheck %s --check-prefix=ROWS
// ROWS: fla.affine %S row_gate(%g) {{.*}} query_versions = array<i64: 2>, read_rows = array<i64: 0, 1>, read_versions = array<i64: 0, 1>

// Two rows of which only one reads.
// RUN: fla-opt %models/dplr_delta_rule.mlir --fla-normalize-recurrence | FileCheck %s --check-prefix=RANK
// RANK: fla.affine %S row_gate(%gk) writes(%b, %k) {{.*}} read_rows = array<i64: 0>, read_versions = array<i64: -1>

// Errors on the key side: the state is taken transposed, its columns first.
// RUN: fla-opt %models/gated_oja_rule.mlir --fla-normalize-recurrence | FileCheck %s --check-prefix=TRANSPOSED
// TRANSPOSED: fla.affine %S row_gate(%gv) writes(%v) {{.*}}query_on_rows = array<i1: false>{{.*}} row_axis = 1

// A logaddexp state whose increments gate the others.
// RUN: fla-opt %models/abc.mlir --fla-normalize-recurrence | FileCheck %s --check-prefix=LOG
// LOG: fla.scan log %z, {{.*}}, %s
// LOG: fla.affine %Hk column_gate([[GATE:%.+]]) writes(
// LOG: fla.affine %Hv row_gate([[GATE]]) writes(

// A cumulative angle, the previous key and the previous value.
// RUN: fla-opt %models/mamba3.mlir --fla-normalize-recurrence | FileCheck %s --check-prefix=SHIFT
// SHIFT: fla.scan linear %theta,
// SHIFT: fla.rotate
// SHIFT-DAG: fla.scan linear %kp,
// SHIFT-DAG: fla.scan linear %vp,
// SHIFT: fla.affine %S row_gate(%g) writes(%kp, {{.*}} query_versions = array<i64: 2>, read_rows = array<i64>

// The D x N state of a selective scan decays elementwise.
// RUN: fla-opt %models/mamba.mlir --fla-normalize-recurrence | FileCheck %s --check-prefix=SELECTIVE
// SELECTIVE: fla.scan linear %h,
// SELECTIVE-NOT: fla.affine

// Three overwritten states: each takes what the one before it held.
// RUN: fla-opt %models/short_conv.mlir --fla-normalize-recurrence | FileCheck %s --check-prefix=OVERWRITTEN
// OVERWRITTEN: fla.scan linear %x1, {{.*}}, %x :
// OVERWRITTEN: fla.scan linear %x2, {{.*}}, %x1 :
// OVERWRITTEN: fla.scan linear %x3, {{.*}}, %x2 :
// OVERWRITTEN-NOT: fla.affine
