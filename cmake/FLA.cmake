# One way to declare a library of the project and the files TableGen makes.

find_program(FLA_CCACHE ccache)
if(FLA_CCACHE)
  # Precompiled headers are cacheable only if ccache may overlook their time.
  set(CMAKE_C_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros ${FLA_CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_C_COMPILER_LAUNCHER})
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  add_link_options(-fuse-ld=lld)
  # ccache and precompiled headers agree only with these.
  add_compile_options(-Xclang -fno-pch-timestamp)
endif()

# A library that holds the precompiled MLIR headers for all others.
function(fla_precompiled_headers)
  file(WRITE ${CMAKE_BINARY_DIR}/pch.cpp "// anchor of the precompiled headers\n")
  add_library(FLAPrecompiled OBJECT ${CMAKE_BINARY_DIR}/pch.cpp)
  target_precompile_headers(FLAPrecompiled PRIVATE
    <mlir/Analysis/SliceAnalysis.h>
    <mlir/Dialect/Arith/IR/Arith.h>
    <mlir/Dialect/Func/IR/FuncOps.h>
    <mlir/Dialect/LLVMIR/LLVMDialect.h>
    <mlir/Dialect/Math/IR/Math.h>
    <mlir/Dialect/SCF/IR/SCF.h>
    <mlir/Dialect/Tensor/IR/Tensor.h>
    <mlir/Dialect/Vector/IR/VectorOps.h>
    <mlir/IR/Builders.h>
    <mlir/IR/BuiltinOps.h>
    <mlir/IR/DialectImplementation.h>
    <mlir/IR/IRMapping.h>
    <mlir/IR/OpImplementation.h>
    <mlir/IR/PatternMatch.h>
    <mlir/Interfaces/SideEffectInterfaces.h>
    <mlir/Parser/Parser.h>
    <mlir/Pass/Pass.h>
    <mlir/Pass/PassManager.h>
    <mlir/Transforms/DialectConversion.h>
    <mlir/Transforms/Passes.h>
    <llvm/ADT/StringSwitch.h>
    <llvm/ADT/TypeSwitch.h>
    <llvm/Support/JSON.h>)
endfunction()

# fla_add_library(NAME SOURCES... [LINK libs...]): static, with the shared PCH.
function(fla_add_library name)
  cmake_parse_arguments(ARG "" "" "LINK" ${ARGN})
  add_library(${name} STATIC ${ARG_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PUBLIC ${ARG_LINK})
  add_dependencies(${name} FLAHeaders)
  target_compile_options(${name} PRIVATE -Wall -Wno-unused-parameter -fvisibility=hidden -ffunction-sections -fdata-sections)
  target_precompile_headers(${name} REUSE_FROM FLAPrecompiled)
  target_compile_options(FLAPrecompiled PRIVATE)
endfunction()

# fla_tablegen(TARGET file.td  output=-gen-flag [output=-gen-flag...]) in the current folder.
function(fla_tablegen target file)
  set(LLVM_TARGET_DEFINITIONS ${file})
  foreach(rule IN LISTS ARGN)
    string(REGEX MATCH "^([^=]+)=(.*)$" _ "${rule}")
    set(output ${CMAKE_MATCH_1})
    separate_arguments(flags UNIX_COMMAND "${CMAKE_MATCH_2}")
    mlir_tablegen(${output} ${flags})
  endforeach()
  add_public_tablegen_target(${target})
  set_property(GLOBAL APPEND PROPERTY FLA_GENERATED_HEADERS ${target})
endfunction()

# Identity of this build's sources, under which compiled artefacts are cached.
file(GLOB_RECURSE FLA_SOURCES CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/lib/*.cpp ${CMAKE_SOURCE_DIR}/lib/*.h
     ${CMAKE_SOURCE_DIR}/include/*.h ${CMAKE_SOURCE_DIR}/include/*.td)
set(FLA_SOURCE_HASHES "")
foreach(source IN LISTS FLA_SOURCES)
  file(SHA256 ${source} hash)
  string(APPEND FLA_SOURCE_HASHES ${hash})
endforeach()
string(SHA256 FLA_BUILD_ID "${FLA_SOURCE_HASHES}")
string(SUBSTRING ${FLA_BUILD_ID} 0 16 FLA_BUILD_ID)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${FLA_SOURCES})
