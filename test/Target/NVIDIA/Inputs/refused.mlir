llvm.func @refused() attributes {fla.gpu_kernel, fla.threads = 32 : i64, fla.shared = 0 : i64} {
  llvm.inline_asm has_side_effects "no.such.instruction;", "" : () -> ()
  llvm.return
}
