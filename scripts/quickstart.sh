#!/usr/bin/env bash
# The whole flow on pictures that the project draws itself: train, sensitivity, prune, retrain, INT8, table.
#   scripts/quickstart.sh [ARGUMENTS OF espalier run]
set -euo pipefail
cd "$(dirname "$0")/.."

build=${BUILD_DIR:-build}
scripts/setup.sh
cmake -S . -B "$build" -G Ninja -DESPALIER_CUDA="${ESPALIER_CUDA:-OFF}" >"$build.configure.log" 2>&1 ||
  { cat "$build.configure.log"; exit 1; }
rm -f "$build.configure.log"
cmake --build "$build" -j "${JOBS:-$(nproc)}" --target espalier
"$build/espalier" data make data/quickstart
exec "$build/espalier" run recipes/quickstart.yaml "$@"
