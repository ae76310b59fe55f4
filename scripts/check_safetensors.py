#!/usr/bin/env python3
"""Reads a model file with the safetensors package and checks what the format promises.

usage: check_safetensors.py MODEL...   exit 0: fine, 1: broken, 77: the package is not installed (ctest's skip).
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


def check(path):
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
    for key, text in metadata.items():
        if text[:1] in "[{":
            json.loads(text)
    ratio = os.path.getsize(path) / tensor_bytes
    print(f"{path}: {tensor_bytes} bytes of tensors, file {100 * (ratio - 1):.2f} % larger")


for argument in sys.argv[1:]:
    check(argument)
