// libfla is FLACompiler and what it needs; this file gives the target a language.
