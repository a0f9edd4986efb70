// Renaming all arguments and dimensions of a definition changes nothing but names in the IR of each phase.
// The new names sort in the opposite order.
// RUN: sed -e 's/aQ/zQ/g; s/bK/yK/g; s/cV/xV/g; s/dG/wG/g; s/eB/vB/g; s/fS/uS/g; s/gR/tR/g; s/hC/sC/g' %s > %t.renamed.mlir
// RUN: not diff %s %t.renamed.mlir > /dev/null
// DEFINE: %{phase} = normalize
// DEFINE: %{back} = sed -e 's/zQ/aQ/g; s/yK/bK/g; s/xV/cV/g; s/wG/dG/g; s/vB/eB/g; s/uS/fS/g; s/tR/gR/g; s/sC/hC/g'
// DEFINE: %{check} = fla-opt %s --fla-compile="until=%{phase} dims=gR:16,hC:8 chunk=8" -o %t.mlir && fla-opt %t.renamed.mlir --fla-compile="until=%{phase} dims=tR:16,sC:8 chunk=8" -o %t.other.mlir && not diff %t.mlir %t.other.mlir > /dev/null && %{back} %t.other.mlir | diff %t.mlir -
// RUN: %{check}
// REDEFINE: %{phase} = chunk
// RUN: %{check}
// REDEFINE: %{phase} = differentiate
// RUN: %{check}
// REDEFINE: %{phase} = kernelize
// RUN: %{check}

// Machine code does not even know names.
// RUN: fla-translate --fla-to-llvmir %s --dims=gR:16,hC:8 --chunk=8 -o %t.ll
// RUN: fla-translate --fla-to-llvmir %t.renamed.mlir --dims=tR:16,sC:8 --chunk=8 -o %t.other.ll
// RUN: diff %t.ll %t.other.ll

!R = tensor<?xf64, #fla.dims<gR>>
!C = tensor<?xf64, #fla.dims<hC>>
!S = tensor<?x?xf64, #fla.dims<gR, hC>>

fla.recurrence @rule state(%fS : !S) (%aQ : !R, %bK : !R, %cV : !C, %dG : f64 {max = 0.0}, %eB : f64 {param}) {
  %a = math.exp %dG : f64
  %1 = fla.gate %fS, %a : !S, f64
  %2 = fla.read %1, %bK : !S, !R -> !C
  %3 = arith.subf %cV, %2 : !C
  %4 = fla.scale %3, %eB : !C, f64
  %5 = fla.write %1, %bK, %4 : !S, !R, !C
  %6 = fla.read %5, %aQ : !S, !R -> !C
  fla.yield state(%5) outputs(%6) : !S, !C
}
