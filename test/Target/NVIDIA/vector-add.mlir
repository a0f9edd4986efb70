// A vector sum: 128-bit accesses, a fused multiply-add, launch bounds, on every chip.
// RUN: fla-translate --fla-to-ptx %s --chip=sm_80 | FileCheck %s --check-prefixes=PTX,SM80
// RUN: fla-translate --fla-to-ptx %s --chip=sm_86 | FileCheck %s --check-prefixes=PTX,SM86
// RUN: fla-translate --fla-to-ptx %s --chip=sm_89 | FileCheck %s --check-prefixes=PTX,SM89
// RUN: fla-translate --fla-to-ptx %s --chip=sm_90 | FileCheck %s --check-prefixes=PTX,SM90
// RUN: fla-translate --fla-to-ptx %s --chip=sm_100 | FileCheck %s --check-prefixes=PTX,SM100
// RUN: fla-translate --fla-to-ptx %s --chip=sm_120 | FileCheck %s --check-prefixes=PTX,SM120

// SM80: .version 8.0
// SM80: .target sm_80
// SM86: .target sm_86
// SM89: .target sm_89
// SM90: .version 8.0
// SM90: .target sm_90
// SM100: .version 8.6
// SM100: .target sm_100
// SM120: .version 8.7
// SM120: .target sm_120

// PTX: .visible .entry add(
// PTX-NEXT: .param .u64 .ptr .global
// PTX: .reqntid 128, 1, 1
// From sm_100 on two sums are one instruction.
// PTX-COUNT-2: ld.global.{{v4.b32|v2.b64}}
// PTX-COUNT-2: fma.rn.ftz.f32{{(x2)?}}
// PTX: st.global.{{v4.b32|v2.b64}}
llvm.func @add(%a: !llvm.ptr<1> {llvm.noalias}, %b: !llvm.ptr<1> {llvm.noalias}, %n: i64)
    attributes {fla.gpu_kernel, fla.threads = 128 : i64, fla.shared = 0 : i64, fla.chunk = 64 : i64, fla.blocks = 1 : i64} {
  %tid = nvvm.read.ptx.sreg.tid.x : i32
  %block = nvvm.read.ptx.sreg.ctaid.x : i32
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
