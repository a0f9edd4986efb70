"""Reads a pip installation report; exit status 0 if it would install CUDA libraries."""

import json
import sys

names = {item["metadata"]["name"].lower() for item in json.load(sys.stdin)["install"]}
sys.exit(0 if any(name.startswith(("nvidia-", "cuda-", "triton")) for name in names) else 1)
