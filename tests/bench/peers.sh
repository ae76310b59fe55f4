#!/usr/bin/env bash
# Times what else runs the three networks, on this machine: PyTorch, ONNX Runtime, OpenVINO. Beside bench_session and
# bench_train_step, in one sitting, it gives the ratios that README.md quotes.
#   tests/bench/peers.sh infer|train [options]     options and defaults: tests/bench/peers.sh --help
# The first call makes a Python environment in build/peers (pip, some hundred MB).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
environment=$here/../../build/peers
if ! "$environment/bin/python" -c 'import torch, onnx, onnxruntime, openvino' 2>/dev/null; then
  python3 -m venv "$environment"
  "$environment/bin/python" -m pip install --quiet torch onnx onnxruntime openvino numpy >&2
fi
# Large blocks go back to the system when they are freed, by default, and their pages are made anew at the next use, which
# takes longer than some layers do. All engines profit from keeping them, PyTorch most. On a machine with other work also set
# OMP_WAIT_POLICY=passive, without which PyTorch's threads may take a hundred times as long to meet.
export MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=17179869184 MALLOC_TOP_PAD_=268435456
exec "$environment/bin/python" "$here/peers.py" "$@"
