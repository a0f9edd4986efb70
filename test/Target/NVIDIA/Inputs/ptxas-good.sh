#!/bin/sh
# Stands in for ptxas: its arguments become the cubin, and it spills.
while [ $# -gt 0 ]; do
  [ "$1" = -o ] && output=$2
  arguments="$arguments $1"
  shift
done
echo "$arguments" > "$output"
cat >&2 <<'REPORT'
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'add' for 'sm_90'
ptxas info    : Function properties for add
    24 bytes stack frame, 32 bytes spill stores, 28 bytes spill loads
ptxas info    : Used 168 registers, used 1 barriers, 24 bytes cumulative stack size, 1040 bytes smem
ptxas info    : Compile time = 5.0 ms
REPORT
