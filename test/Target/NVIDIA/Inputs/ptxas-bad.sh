#!/bin/sh
echo "ptxas info    : starting" >&2
echo "ptxas fatal   : an old toolkit" >&2
exit 255
