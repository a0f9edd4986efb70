# What the final libraries link: the target FLALLVM. A development build takes the
# shared MLIR and LLVM, which link in a second; a wheel (FLA_STATIC_LLVM) takes the
# static archives, so that it runs where no LLVM is installed.
#
# All archives are offered in one group and the linker takes what is referenced: no
# list has to follow what the project's libraries use.

add_library(FLALLVM INTERFACE)
if(NOT FLA_STATIC_LLVM)
  target_link_libraries(FLALLVM INTERFACE MLIR LLVM)
  return()
endif()

include(LLVM-Config)
find_package(LLD 22.1 REQUIRED CONFIG HINTS ${LLVM_DIR}/../lld)

# Targets that code is made for: this machine's CPU, NVIDIA, AMD.
set(FLA_LLVM_TARGETS X86 NVPTX AMDGPU)
set(others ${LLVM_ALL_TARGETS} ARC CSKY DirectX M68k Xtensa)
list(REMOVE_ITEM others ${FLA_LLVM_TARGETS})

# MLIR calls LLVM's "initialize all targets": those left out do nothing.
set(stubs "/* Made by cmake/StaticLLVM.cmake. */\n")
foreach(target IN LISTS others)
  foreach(part Target TargetMC TargetInfo AsmPrinter AsmParser Disassembler)
    string(APPEND stubs "void LLVMInitialize${target}${part}(void) {}\n")
  endforeach()
endforeach()
file(GENERATE OUTPUT ${CMAKE_BINARY_DIR}/AbsentTargets.c CONTENT "${stubs}")
add_library(FLAAbsent STATIC ${CMAKE_BINARY_DIR}/AbsentTargets.c ${CMAKE_CURRENT_LIST_DIR}/static/AbsentPolly.cpp
  ${CMAKE_CURRENT_LIST_DIR}/static/Random.c)

# The archive of an imported target, whatever its configuration is called.
function(fla_archive target result)
  get_target_property(configurations ${target} IMPORTED_CONFIGURATIONS)
  list(GET configurations 0 configuration)
  get_target_property(path ${target} IMPORTED_LOCATION_${configuration})
  set(${result} ${path} PARENT_SCOPE)
endfunction()

set(archives "")
foreach(target IN LISTS MLIR_EXPORTED_TARGETS LLVM_AVAILABLE_LIBS)
  if(NOT TARGET ${target} OR target MATCHES "Test|^Polly")
    continue()
  endif()
  get_target_property(type ${target} TYPE)
  string(REPLACE ";" "|" left_out "${others}")
  if(type STREQUAL "STATIC_LIBRARY" AND NOT target MATCHES "^LLVM(${left_out})(CodeGen|Desc|Info|AsmParser|Disassembler|Utils|TargetMCA)$")
    fla_archive(${target} path)
    list(APPEND archives ${path})
  endif()
endforeach()

# lld's imported targets name the shared LLVM.
foreach(target IN LISTS LLD_EXPORTED_TARGETS)
  get_target_property(type ${target} TYPE)
  if(type STREQUAL "STATIC_LIBRARY")
    set_target_properties(${target} PROPERTIES INTERFACE_LINK_LIBRARIES "")
    fla_archive(${target} path)
    list(APPEND archives ${path})
  endif()
endforeach()

find_library(FLA_ZLIB libz.a REQUIRED)
find_library(FLA_ZSTD libzstd.a REQUIRED)
find_package(Threads REQUIRED)
target_link_libraries(FLALLVM INTERFACE -Wl,--start-group ${archives} FLAAbsent ${FLA_ZLIB} ${FLA_ZSTD} -Wl,--end-group
  Threads::Threads ${CMAKE_DL_LIBS} m)
# Only what the C API reaches stays; nothing of it is visible outside.
target_link_options(FLALLVM INTERFACE -static-libstdc++ -static-libgcc -Wl,--gc-sections -Wl,--icf=all -Wl,-O2
  -Wl,--no-undefined -Wl,-Bsymbolic -Wl,--as-needed -Wl,-s)
