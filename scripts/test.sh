#!/usr/bin/env bash
# Sets up, builds and runs the tests.
#   scripts/test.sh [--sanitize | --cuda | --tidy] [-- CTEST ARGUMENTS]
#     --sanitize  address and undefined-behaviour sanitizer, in build-sanitize/
#     --cuda      with nvcc, in build-cuda/; without a GPU the CPU half of the tests runs
#     --tidy      clang-tidy over all sources instead of the tests
# Environment: BUILD_DIR (default build), JOBS (default all cores).
set -euo pipefail
cd "$(dirname "$0")/.."

build=${BUILD_DIR:-build}
options=(-DESPALIER_CUDA=OFF)
tidy=
while [ $# -gt 0 ]; do
  case $1 in
    --sanitize) build=build-sanitize; options+=(-DESPALIER_SANITIZE=ON) ;;
    --cuda) build=build-cuda; options=(-DESPALIER_CUDA=ON) ;;
    --tidy) tidy=1 ;;
    --) shift; break ;;
    *) echo "test.sh: unknown option '$1'; known are --sanitize, --cuda, --tidy" >&2; exit 2 ;;
  esac
  shift
done
jobs=${JOBS:-$(nproc)}

scripts/setup.sh
cmake -S . -B "$build" -G Ninja "${options[@]}" >"$build.configure.log" 2>&1 || { cat "$build.configure.log"; exit 1; }
rm -f "$build.configure.log"
if [ -n "$tidy" ]; then
  git ls-files 'src/*.cpp' 'kernels/*.cpp' 'models/*.cpp' 'datasets/*.cpp' |
    xargs -P "$jobs" -n 4 clang-tidy -p "$build" --quiet
  exit
fi
cmake --build "$build" -j "$jobs"
# Kernels use every core themselves, so few tests at a time: more only wait for each other.
OMP_WAIT_POLICY=passive ctest --test-dir "$build" --output-on-failure -j "$(((jobs + 1) / 2))" "$@"
