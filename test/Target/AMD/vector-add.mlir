// A vector sum for every chip: 128-bit accesses, fused multiply-adds, launch bounds, the wave's width.
// RUN: fla-translate --fla-to-hsaco %s --chip=gfx90a -o %t.90a && llvm-objdump -d --mcpu=gfx90a %t.90a | FileCheck %s --check-prefixes=CDNA
// RUN: fla-translate --fla-to-hsaco %s --chip=gfx942 -o %t.942 && llvm-objdump -d --mcpu=gfx942 %t.942 | FileCheck %s --check-prefixes=CDNA
// RUN: fla-translate --fla-to-hsaco %s --chip=gfx950 -o %t.950 && llvm-objdump -d --mcpu=gfx950 %t.950 | FileCheck %s --check-prefixes=CDNA
// RUN: fla-translate --fla-to-hsaco %s --chip=gfx1100 -o %t.1100 && llvm-objdump -d --mcpu=gfx1100 %t.1100 | FileCheck %s --check-prefixes=RDNA
// RUN: fla-translate --fla-to-hsaco %s --chip=gfx1201 -o %t.1201 && llvm-objdump -d --mcpu=gfx1201 %t.1201 | FileCheck %s --check-prefixes=RDNA
// RUN: llvm-readobj --notes %t.942 | FileCheck %s --check-prefixes=NOTES,NOTES64
// RUN: llvm-readobj --notes %t.1100 | FileCheck %s --check-prefixes=NOTES,NOTES32

// CDNA: <add>:
// CDNA-COUNT-2: global_load_dwordx4
// CDNA: {{v_pk_fma_f32|v_fmac_f32|v_fma_f32}}
// CDNA: global_store_dwordx4
// CDNA: s_endpgm

// RDNA: <add>:
// RDNA-COUNT-2: global_load_b128
// RDNA: {{v_dual_fmac_f32|v_fmac_f32|v_fma_f32}}
// RDNA: global_store_b128
// RDNA: s_endpgm

// No hidden arguments: the parameters are what a launch passes.
// NOTES: .args:
// NOTES-NOT: hidden_
// NOTES: .max_flat_workgroup_size: 128
// NOTES: .name: add
// NOTES: .reqd_workgroup_size:
// NOTES64: .wavefront_size: 64
// NOTES32: .wavefront_size: 32
llvm.func @add(%a: !llvm.ptr<1> {llvm.noalias}, %b: !llvm.ptr<1> {llvm.noalias}, %n: i64)
    attributes {fla.gpu_kernel, fla.threads = 128 : i64, fla.shared = 0 : i64, fla.chunk = 64 : i64, fla.blocks = 1 : i64} {
  %tid = rocdl.workitem.id.x : i32
  %block = rocdl.workgroup.id.x : i32
  %threads = arith.constant 128 : i32
  %start = arith.muli %block, %threads : i32
  %i32 = arith.addi %start, %tid : i32
  %i = arith.extui %i32 : i32 to i64
  %inside = arith.cmpi slt, %i, %n : i64
  scf.if %inside {
    %pa = llvm.getelementptr inbounds %a[%i] : (!llvm.ptr<1>, i64) -> !llvm.ptr<1>, vector<4xf32>
    %pb = llvm.getelementptr inbounds %b[%i] : (!llvm.ptr<1>, i64) -> !llvm.ptr<1>, vector<4xf32>
    %x = llvm.load %pa {alignment = 16 : i64} : !llvm.ptr<1> -> vector<4xf32>
    %y = llvm.load %pb {alignment = 16 : i64} : !llvm.ptr<1> -> vector<4xf32>
    %square = arith.mulf %x, %x : vector<4xf32>
    %sum = arith.addf %square, %y : vector<4xf32>
    llvm.store %sum, %pb {alignment = 16 : i64} : vector<4xf32>, !llvm.ptr<1>
  }
  llvm.return
}
