#!/usr/bin/env bash
# Configures and builds: build.sh FOLDER [cmake -D options] -- TARGET ... ; prints one line unless it fails.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=$1
shift
options=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
  options+=("$1")
  shift
done
[ $# -gt 0 ] && shift
targets=("${@:-all}")

jobs=${ESPALIER_JOBS:-$(nproc)}
# A compiler takes up to 1.5 GB; a small machine with many cores must not swap.
memory=$(awk '/MemAvailable/ {print int($2 / 1500000)}' /proc/meminfo 2>/dev/null || echo "$jobs")
[ "$memory" -ge 1 ] || memory=1
[ "$jobs" -le "$memory" ] || jobs=$memory

# What another copy of the project compiled serves this one too.
export CCACHE_BASEDIR=${CCACHE_BASEDIR:-$PWD} CCACHE_NOHASHDIR=${CCACHE_NOHASHDIR:-1}

mkdir -p "$folder"
start=$SECONDS
echo "build: $folder (${targets[*]}), $jobs jobs"
if ! cmake -S . -B "$folder" -G Ninja "${options[@]}" >"$folder/configure.log" 2>&1; then
  cat "$folder/configure.log" >&2
  exit 1
fi
grep -h 'espalier:' "$folder/configure.log" | sed 's/^-- /build: /' || true
if [ -t 1 ]; then
  ninja -C "$folder" -j "$jobs" "${targets[@]}"
elif ! ninja -C "$folder" -j "$jobs" "${targets[@]}" >"$folder/build.log" 2>&1; then
  grep -E '^FAILED|error|Error' "$folder/build.log" | cut -c1-300 | head -40 >&2
  echo "build: failed; all of it is in $folder/build.log" >&2
  exit 1
fi
echo "build: done in $((SECONDS - start)) s"
