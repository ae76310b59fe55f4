#!/usr/bin/env bash
# Trains and quantises a model on drawn pictures and has Python's safetensors package read both files.
#   safetensors_package.sh ESPALIER [PYTHON]     exit 77: the package is not installed
set -euo pipefail
espalier=$1
python=python3
[ -x "${2:-}" ] && python=$2
check=$(dirname "$0")/../../scripts/check_safetensors.py
"$python" -c 'import numpy, safetensors' 2>/dev/null || exec "$python" "$check"

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$espalier" data make "$folder/data" --classes 2 --train 8 --val 4 --test 0 --size 32
"$espalier" train --data "$folder/data" --set data.size=32 --set data.batch=8 --epochs 1 --out "$folder"
"$espalier" quantize "$folder/train/model.safetensors" --data "$folder/data" --set data.size=32 --set data.batch=8 \
  --calibration-batches 1 --out "$folder/int8.safetensors"
"$python" "$check" --at-most 2 "$folder/train/model.safetensors"
"$python" "$check" --at-most 2 "$folder/int8.safetensors"
