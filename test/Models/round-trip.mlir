// Every definition of the library parses, verifies, carries its file's name and
// survives text and bytecode; the script names those that do not.
// RUN: %python %S/Inputs/round_trip.py fla-opt %models
