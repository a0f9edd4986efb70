// The matrix unit of CDNA, exp2 and bf16 results.
// RUN: fla-translate --fla-to-hsaco %s --chip=gfx90a -o %t.90a && llvm-objdump -d --mcpu=gfx90a %t.90a | FileCheck %s
// RUN: fla-translate --fla-to-hsaco %s --chip=gfx942 -o %t.942 && llvm-objdump -d --mcpu=gfx942 %t.942 | FileCheck %s
// RUN: fla-translate --fla-to-hsaco %s --chip=gfx950 -o %t.950 && llvm-objdump -d --mcpu=gfx950 %t.950 | FileCheck %s

// CHECK: <mfma>:
// CHECK: global_load_dwordx2
// CHECK: v_mfma_f32_16x16x16{{_?}}bf16{{(_1k)?}}
// CHECK: v_exp_f32
// CHECK: s_endpgm
llvm.func @mfma(%a: !llvm.ptr<1>, %c: !llvm.ptr<1>) attributes {fla.gpu_kernel, fla.threads = 64 : i64, fla.shared = 0 : i64} {
  %tid = rocdl.workitem.id.x : i32
  %pa = llvm.getelementptr inbounds %a[%tid] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, vector<4xbf16>
  %A = llvm.load %pa : !llvm.ptr<1> -> vector<4xi16>
  %zero = arith.constant 0 : i32
  %C = arith.constant dense<0.0> : vector<4xf32>
  %D = rocdl.mfma.f32.16x16x16bf16.1k %A, %A, %C, %zero, %zero, %zero : (vector<4xi16>, vector<4xi16>, vector<4xf32>, i32, i32, i32) -> vector<4xf32>
  %first = llvm.extractelement %D[%zero : i32] : vector<4xf32>
  %x = llvm.intr.exp2(%first) : (f32) -> f32
  %E = llvm.insertelement %x, %D[%zero : i32] : vector<4xf32>
  %half = arith.truncf %E : vector<4xf32> to vector<4xbf16>
  %pc = llvm.getelementptr inbounds %c[%tid] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, vector<4xbf16>
  llvm.store %half, %pc : vector<4xbf16>, !llvm.ptr<1>
  llvm.return
}
