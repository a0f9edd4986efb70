# The tools of a wheel: their code is inside libfla, which has everything they use
# already, and the commands call fla_tool(name, argc, argv). A binary of its own for
# each would add a copy of MLIR to the wheel.
#
# Every tool declares its options as static objects, and LLVM refuses two options of
# one name in a process. Constructors of a tool's objects therefore go to a section
# of their own, which fla_tool runs for the tool that was asked for.

find_program(FLA_OBJCOPY llvm-objcopy HINTS ${LLVM_TOOLS_BINARY_DIR} REQUIRED)

# The object files of a tool, with main renamed and its constructors set aside.
function(fla_tool_objects tool id result)
  get_target_property(directory ${tool} SOURCE_DIR)
  get_target_property(sources ${tool} SOURCES)
  list(TRANSFORM sources PREPEND ${directory}/)
  add_library(${tool}-objects OBJECT ${sources})
  add_dependencies(${tool}-objects FLAHeaders)
  target_compile_definitions(${tool}-objects PRIVATE main=fla_main_${id})
  target_compile_options(${tool}-objects PRIVATE -ffunction-sections -fdata-sections)
  set(objects "")
  foreach(source IN LISTS sources)
    get_filename_component(name ${source} NAME_WE)
    set(object ${CMAKE_BINARY_DIR}/tools/${tool}/${name}.o)
    file(RELATIVE_PATH place ${CMAKE_CURRENT_SOURCE_DIR} ${source})
    set(compiled ${CMAKE_CURRENT_BINARY_DIR}/CMakeFiles/${tool}-objects.dir/${place}.o)
    add_custom_command(OUTPUT ${object}
      COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/tools/${tool}
      COMMAND ${FLA_OBJCOPY} --rename-section .init_array=fla_init_${id} ${compiled} ${object}
      DEPENDS ${tool}-objects ${compiled} VERBATIM)
    list(APPEND objects ${object})
  endforeach()
  # The library is of another folder, where this rule is not known.
  add_custom_target(${tool}-set-aside DEPENDS ${objects})
  set(${result} ${objects} PARENT_SCOPE)
endfunction()

# fla_add_tools(LIBRARY tools...): adds fla_tool with these tools to the library.
function(fla_add_tools library)
  set(declarations "")
  set(entries "")
  foreach(tool IN LISTS ARGN)
    string(MAKE_C_IDENTIFIER ${tool} id)
    fla_tool_objects(${tool} ${id} objects)
    get_target_property(links ${tool} LINK_LIBRARIES)
    list(REMOVE_ITEM links MLIR LLVM)
    target_sources(${library} PRIVATE ${objects})
    add_dependencies(${library} ${tool}-set-aside)
    target_link_libraries(${library} PRIVATE ${links})
    string(APPEND declarations "FLA_TOOL_DECLARE(${id})\n")
    string(APPEND entries "FLA_TOOL_ENTRY(\"${tool}\", ${id})\n")
  endforeach()
  file(GENERATE OUTPUT ${CMAKE_BINARY_DIR}/tools/declarations.inc CONTENT "${declarations}")
  file(GENERATE OUTPUT ${CMAKE_BINARY_DIR}/tools/entries.inc CONTENT "${entries}")
  target_sources(${library} PRIVATE ${PROJECT_SOURCE_DIR}/cmake/static/Tools.cpp)
  target_include_directories(${library} PRIVATE ${CMAKE_BINARY_DIR}/tools)
  # The sections are named by __start_ and __stop_ alone.
  target_link_options(${library} PRIVATE -Wl,-z,nostart-stop-gc)
endfunction()
