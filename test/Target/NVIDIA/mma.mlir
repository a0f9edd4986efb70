// The matrix unit: cp.async, ldmatrix, mma.sync with bf16 and tf32 inputs, exp2 as one instruction.
// RUN: fla-translate --fla-to-ptx %s --chip=sm_80 | FileCheck %s
// RUN: fla-translate --fla-to-ptx %s --chip=sm_90 | FileCheck %s
// RUN: fla-translate --fla-to-ptx %s --chip=sm_120 | FileCheck %s

// CHECK: .visible .entry mma(
// CHECK: cp.async.cg.shared.global
// CHECK: cp.async.wait_group 0
// CHECK: ldmatrix.sync.aligned.m8n8.x4.shared.b16
// CHECK: ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16
// CHECK: mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32
// CHECK: mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32
// CHECK: ex2.approx.ftz.f32
// CHECK: cvt.rn.bf16x2.f32
llvm.mlir.global external @fla_shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>

llvm.func @mma(%a: !llvm.ptr<1>, %c: !llvm.ptr<1>) attributes {fla.gpu_kernel, fla.threads = 32 : i64, fla.shared = 4096 : i64} {
  %tid = nvvm.read.ptx.sreg.tid.x : i32
  %shared = llvm.mlir.addressof @fla_shared : !llvm.ptr<3>
  %s = llvm.getelementptr inbounds %shared[%tid] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, vector<4xi32>
  %g = llvm.getelementptr inbounds %a[%tid] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, vector<4xi32>
  nvvm.cp.async.shared.global %s, %g, 16, cache = cg : !llvm.ptr<3>, !llvm.ptr<1>
  nvvm.cp.async.commit.group
  nvvm.cp.async.wait.group 0
  nvvm.barrier
  %A = nvvm.ldmatrix %s {num = 4 : i32, layout = #nvvm.mma_layout<row>, shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>} : (!llvm.ptr<3>) -> !llvm.struct<(i32, i32, i32, i32)>
  %B = nvvm.ldmatrix %s {num = 2 : i32, layout = #nvvm.mma_layout<col>, shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>} : (!llvm.ptr<3>) -> !llvm.struct<(i32, i32)>
  %a0 = llvm.extractvalue %A[0] : !llvm.struct<(i32, i32, i32, i32)>
  %a1 = llvm.extractvalue %A[1] : !llvm.struct<(i32, i32, i32, i32)>
  %a2 = llvm.extractvalue %A[2] : !llvm.struct<(i32, i32, i32, i32)>
  %a3 = llvm.extractvalue %A[3] : !llvm.struct<(i32, i32, i32, i32)>
  %b0 = llvm.extractvalue %B[0] : !llvm.struct<(i32, i32)>
  %b1 = llvm.extractvalue %B[1] : !llvm.struct<(i32, i32)>
  %z = arith.constant 0.0 : f32
  %d = nvvm.mma.sync A[%a0, %a1, %a2, %a3] B[%b0, %b1] C[%z, %z, %z, %z]
    {layoutA = #nvvm.mma_layout<row>, layoutB = #nvvm.mma_layout<col>,
     multiplicandAPtxType = #nvvm.mma_type<bf16>, multiplicandBPtxType = #nvvm.mma_type<bf16>,
     shape = #nvvm.shape<m = 16, n = 8, k = 16>} : (i32, i32, f32) -> !llvm.struct<(f32, f32, f32, f32)>
  %d0 = llvm.extractvalue %d[0] : !llvm.struct<(f32, f32, f32, f32)>
  %d1 = llvm.extractvalue %d[1] : !llvm.struct<(f32, f32, f32, f32)>
  %d2 = llvm.extractvalue %d[2] : !llvm.struct<(f32, f32, f32, f32)>
  %d3 = llvm.extractvalue %d[3] : !llvm.struct<(f32, f32, f32, f32)>
  %e = nvvm.mma.sync A[%a0, %a1, %a2, %a3] B[%b0, %b1] C[%d0, %d1, %d2, %d3]
    {layoutA = #nvvm.mma_layout<row>, layoutB = #nvvm.mma_layout<col>,
     multiplicandAPtxType = #nvvm.mma_type<tf32>, multiplicandBPtxType = #nvvm.mma_type<tf32>,
     shape = #nvvm.shape<m = 16, n = 8, k = 8>} : (i32, i32, f32) -> !llvm.struct<(f32, f32, f32, f32)>
  %e0 = llvm.extractvalue %e[0] : !llvm.struct<(f32, f32, f32, f32)>
  %e1 = llvm.extractvalue %e[1] : !llvm.struct<(f32, f32, f32, f32)>
  %x = llvm.intr.exp2(%e0) : (f32) -> f32
  %undef = llvm.mlir.undef : vector<2xf32>
  %first = arith.constant 0 : i32
  %second = arith.constant 1 : i32
  %v0 = llvm.insertelement %x, %undef[%first : i32] : vector<2xf32>
  %v1 = llvm.insertelement %e1, %v0[%second : i32] : vector<2xf32>
  %half = arith.truncf %v1 : vector<2xf32> to vector<2xbf16>
  %p = llvm.getelementptr inbounds %c[%tid] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, vector<2xbf16>
  llvm.store %half, %p : vector<2xbf16>, !llvm.ptr<1>
  llvm.return
}
