#!/usr/bin/env bash
# Installs what is missing, builds, and passes the tests.
#   --sanitize  with address and undefined-behaviour sanitizers, in build-sanitize/
#   --cuda      with CUDA, in build-cuda/ (device tests are skipped and counted where no GPU answers)
#   --emulated-gpu  the device tests alone, in build-emulated/, on a GPU that the host plays (tests/emulated_cuda)
#   --tidy      clang-tidy over all sources instead of the tests
# What follows -- goes to ctest, for example: scripts/test.sh -- -R Recipe
set -euo pipefail
cd "$(dirname "$0")/.."

folder=build
options=(-DESPALIER_CUDA=OFF)
targets=()
filter=()
threads=2  # that a test uses; the emulator has one
tidy=
while [ $# -gt 0 ]; do
  case $1 in
    --sanitize)
      folder=build-sanitize
      options+=(-DESPALIER_SANITIZE=ON)
      ;;
    --cuda)
      folder=build-cuda
      options=(-DESPALIER_CUDA=ON "${options[@]:1}")
      ;;
    --emulated-gpu)
      folder=build-emulated
      options=(-DESPALIER_CUDA=EMULATED "${options[@]:1}")
      targets=(-- test_tensor test_ops test_passes test_runtime test_tasks test_train test_compress espalier)
      filter=(-R '/cuda|Emulated')
      threads=1
      export ESPALIER_REQUIRE_CUDA=1 ESPALIER_AUTOTUNE=${ESPALIER_AUTOTUNE-off}
      ;;
    --tidy) tidy=1 ;;
    --)
      shift
      break
      ;;
    *)
      echo "usage: scripts/test.sh [--sanitize] [--cuda] [--emulated-gpu] [--tidy] [-- CTEST OPTIONS]" >&2
      exit 2
      ;;
  esac
  shift
done

scripts/setup.sh --tests
if [ -n "$tidy" ]; then
  cmake -S . -B "$folder" -G Ninja "${options[@]}" >/dev/null
  git ls-files 'src/*.cpp' 'kernels/*.cpp' 'models/*.cpp' 'datasets/*.cpp' |
    xargs -P "$(nproc)" -n 4 clang-tidy -p "$folder" --quiet
  exit
fi
scripts/build.sh "$folder" "${options[@]}" "${targets[@]}"
# As many tests at a time as there are cores for their threads: more would wait for each other.
export OMP_WAIT_POLICY=passive OMP_NUM_THREADS=$threads
export ASAN_OPTIONS=allocator_may_return_null=1${ASAN_OPTIONS:+:$ASAN_OPTIONS}  # tests ask for more than there is
exec ctest --test-dir "$folder" --output-on-failure -j "$((($(nproc) + threads - 1) / threads))" "${filter[@]}" "$@"
