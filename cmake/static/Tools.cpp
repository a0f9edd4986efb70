//===- Tools.cpp - the tools inside a wheel's libfla ----------------------===//
//
// fla_tool runs what is a program of its own in a development build. A process
// runs one tool, once: see cmake/StaticTools.cmake.
//
//===----------------------------------------------------------------------===//
#include <cstdio>
#include <cstring>

using Constructor = void (*)(int, char **, char **);

/// A tool without constructors has no such section: its bounds are null.
#define FLA_PERHAPS __attribute__((weak, visibility("hidden")))

#define FLA_TOOL_DECLARE(id)                                                                                                                                   \
  int fla_main_##id(int argc, char **argv);                                                                                                                    \
  extern "C" FLA_PERHAPS Constructor __start_fla_init_##id[], __stop_fla_init_##id[];
#include "declarations.inc"

extern "C" char **environ;

namespace {
struct Tool {
  const char *name;
  int (*main)(int, char **);
  Constructor *first, *last;
};
} // namespace

static const Tool tools[] = {
#define FLA_TOOL_ENTRY(name, id) {name, fla_main_##id, __start_fla_init_##id, __stop_fla_init_##id},
#include "entries.inc"
};

/// Runs a tool and returns its exit status; 2 if there is none of that name.
extern "C" __attribute__((visibility("default"))) int fla_tool(const char *name, int argc, char **argv) {
  for (const Tool &tool : tools) {
    if (std::strcmp(tool.name, name) != 0)
      continue;
    for (Constructor *constructor = tool.first; constructor != tool.last; ++constructor)
      (*constructor)(argc, argv, environ);
    return tool.main(argc, argv);
  }
  std::fprintf(stderr, "fla_tool: expected one of");
  for (const Tool &tool : tools)
    std::fprintf(stderr, " %s", tool.name);
  std::fprintf(stderr, ", got '%s'\n", name);
  return 2;
}
