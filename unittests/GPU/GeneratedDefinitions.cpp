//===- GeneratedDefinitions.cpp - definitions on every family of chips ----===//
#include "Generated.h"

void fla::testing::testDefinitions(const std::string &, const std::string &) {}
