// The matrix unit of RDNA: 16 inputs a lane on gfx11, 8 on gfx12. The other's operands are refused.
// RUN: split-file %s %t
// RUN: fla-translate --fla-to-hsaco %t/gfx11.mlir --chip=gfx1100 -o %t/11.hsaco && llvm-objdump -d --mcpu=gfx1100 %t/11.hsaco | FileCheck %s
// RUN: fla-translate --fla-to-hsaco %t/gfx12.mlir --chip=gfx1201 -o %t/12.hsaco && llvm-objdump -d --mcpu=gfx1201 %t/12.hsaco | FileCheck %s
// RUN: not fla-translate --fla-to-hsaco %t/gfx11.mlir --chip=gfx1201 2>&1 | FileCheck %s --check-prefix=EIGHT
// RUN: not fla-translate --fla-to-hsaco %t/gfx12.mlir --chip=gfx1100 2>&1 | FileCheck %s --check-prefix=SIXTEEN
// RUN: not fla-translate --fla-to-hsaco %t/gfx11.mlir --chip=gfx942 2>&1 | FileCheck %s --check-prefix=CDNA

// CHECK: <wmma>:
// CHECK: v_wmma_f32_16x16x16_bf16
// CHECK: s_endpgm

// EIGHT: gfx11.mlir:{{[0-9:]+}}: error: expected inputs of 8 elements a lane on gfx1201, got 'vector<16xi16>'
// SIXTEEN: gfx12.mlir:{{[0-9:]+}}: error: expected inputs of 16 elements a lane on gfx1100, got 'vector<8xi16>'
// CDNA: gfx11.mlir:{{[0-9:]+}}: error: expected an instruction of gfx942, got 'rocdl.wmma.f32.16x16x16.bf16', which exists on gfx1100, gfx1201

//--- gfx11.mlir
llvm.func @wmma(%a: !llvm.ptr<1>, %c: !llvm.ptr<1>) attributes {fla.gpu_kernel, fla.threads = 64 : i64, fla.shared = 0 : i64} {
  %tid = rocdl.workitem.id.x : i32
  %pa = llvm.getelementptr inbounds %a[%tid] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, vector<16xi16>
  %A = llvm.load %pa : !llvm.ptr<1> -> vector<16xi16>
  %C = arith.constant dense<0.0> : vector<8xf32>
  %D = rocdl.wmma.f32.16x16x16.bf16 %A, %A, %C : (vector<16xi16>, vector<16xi16>, vector<8xf32>) -> vector<8xf32>
  %pc = llvm.getelementptr inbounds %c[%tid] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, vector<8xf32>
  llvm.store %D, %pc : vector<8xf32>, !llvm.ptr<1>
  llvm.return
}

//--- gfx12.mlir
llvm.func @wmma(%a: !llvm.ptr<1>, %c: !llvm.ptr<1>) attributes {fla.gpu_kernel, fla.threads = 64 : i64, fla.shared = 0 : i64} {
  %tid = rocdl.workitem.id.x : i32
  %pa = llvm.getelementptr inbounds %a[%tid] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, vector<8xi16>
  %A = llvm.load %pa : !llvm.ptr<1> -> vector<8xi16>
  %C = arith.constant dense<0.0> : vector<8xf32>
  %D = rocdl.wmma.f32.16x16x16.bf16 %A, %A, %C : (vector<8xi16>, vector<8xi16>, vector<8xf32>) -> vector<8xf32>
  %pc = llvm.getelementptr inbounds %c[%tid] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, vector<8xf32>
  llvm.store %D, %pc : vector<8xf32>, !llvm.ptr<1>
  llvm.return
}
