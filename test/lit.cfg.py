"""lit: how the tests in this folder run. They mirror lib/, folder by folder."""
import importlib.util
import os
import shutil

import lit.formats

config.name = "fla"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.excludes = ["Inputs"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = config.fla_obj_dir

programs = [os.path.join(config.fla_unit_dir, part) for part in ("Interpreter", "Runtime")]
config.environment["PATH"] = os.pathsep.join([config.fla_bin_dir, *programs, config.llvm_tools_dir, os.environ["PATH"]])
# Tests never see the user's cache, nor leave anything in it.
config.environment["FLA_CACHE_DIR"] = os.path.join(config.test_exec_root, "cache")
# NVIDIA's assembler is optional; the same places are searched as by the compiler.
toolkits = [os.environ.get("CUDA_HOME", ""), "/usr/local/cuda"]
if shutil.which("ptxas") or any(os.access(os.path.join(folder, "bin", "ptxas"), os.X_OK) for folder in toolkits if folder):
    config.available_features.add("ptxas")
else:
    lit_config.note("no ptxas in CUDA_HOME, PATH and /usr/local/cuda: tests of cubins are left out")
if os.environ.get("CUDA_HOME"):
    config.environment["CUDA_HOME"] = os.environ["CUDA_HOME"]
# A test that hangs is a failure, not a wait (lit needs psutil to see to that).
if importlib.util.find_spec("psutil"):
    lit_config.maxIndividualTestTime = 600

config.substitutions += [
    ("%python", config.python),
    ("%cxx", config.cxx_compiler),
    ("%cc", config.c_compiler),
    ("%models", os.path.join(config.fla_src_dir, "lib", "Models")),
    ("%examples", os.path.join(config.fla_src_dir, "examples")),
]
