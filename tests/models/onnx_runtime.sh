#!/usr/bin/env bash
# Every model is written as ONNX, and ONNX Runtime gives what the program does.
#   onnx_runtime.sh TEST_MODELS [PYTHON]     exit 77: the package is not installed, or ONNX not built in
set -euo pipefail
tests=$1
python=python3
[ -x "${2:-}" ] && python=$2
"$python" -c 'import numpy, onnxruntime' 2>/dev/null || { echo "onnxruntime is not installed"; exit 77; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
ESPALIER_ONNX_CASES=$folder "$tests" --gtest_filter=Onnx.EveryModelIsWritten
[ -f "$folder/cases.json" ] || exit 77
"$python" "$(dirname "$0")/check_onnx.py" "$folder"
