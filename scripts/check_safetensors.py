#!/usr/bin/env python3
"""Reads a model file with the safetensors package and checks what the format promises.

usage: check_safetensors.py [--at-most PERCENT] MODEL...
PERCENT is how much larger than its tensors' bytes a file may be.
exit 0: fine, 1: broken, 77: the package is not installed (ctest's skip).
"""
import json
import os
import sys

try:
    import numpy
    import safetensors
except ImportError:
    print("safetensors or numpy is not installed: skipped")
    sys.exit(77)


def check(path, at_most):
    tensor_bytes = 0
    with safetensors.safe_open(path, framework="np") as file:
        metadata = file.metadata()
        for name in file.keys():
            tensor = file.get_tensor(name)
            tensor_bytes += tensor.nbytes
            if tensor.dtype.kind == "f" and not numpy.isfinite(tensor).all():
                raise SystemExit(f"{path}: {name} has values that are not finite")
    if tensor_bytes == 0:
        raise SystemExit(f"{path}: no tensors")
    for key in ("graph", "preprocessing", "labels", "lineage", "metrics"):
        json.loads(metadata["espalier." + key])
    larger = 100 * (os.path.getsize(path) / tensor_bytes - 1)
    print(f"{path}: {tensor_bytes} bytes of tensors, the file is {larger:.2f} % larger")
    if larger > at_most:
        raise SystemExit(f"{path}: at most {at_most:g} % was allowed")


arguments = sys.argv[1:]
limit = float("inf")
if arguments[:1] == ["--at-most"]:
    limit = float(arguments[1])
    arguments = arguments[2:]
for argument in arguments:
    check(argument, limit)
