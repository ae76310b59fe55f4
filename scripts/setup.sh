#!/usr/bin/env bash
# Installs what the build needs and this machine lacks (Debian, Ubuntu), with --tests also what tests ask. Quiet and quick
# when all is there.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(build-essential cmake ninja-build ccache libdnnl-dev libtbb-dev libyaml-cpp-dev libcli11-dev
  nlohmann-json3-dev libspdlog-dev libfmt-dev libpng-dev libpugixml-dev libstb-dev libonnx-dev libprotobuf-dev libgtest-dev
  libbenchmark-dev python3 python3-venv)

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  echo "setup: this is no Debian or Ubuntu; install with your package manager what these packages hold," >&2
  echo "setup: then run cmake yourself: ${packages[*]}" >&2
  command -v cmake >/dev/null && command -v ninja >/dev/null && exit 0
  exit 2
fi

# Installs those of packages that are missing; says why it could not.
install_packages() {
  local missing=() sudo=() log
  for package in "${packages[@]}"; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || {
      echo "setup: missing: ${missing[*]}; run 'apt-get install ${missing[*]}' as root, then again" >&2
      return 2
    }
    sudo=(sudo)
  fi
  echo "setup: installing ${missing[*]}"
  log=$(mktemp)
  install() { "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"; }
  # A package list that is too old names files that are gone, so a failure is tried again with a fresh one.
  if ! install >"$log" 2>&1 && ! { "${sudo[@]}" apt-get update && install; } >"$log" 2>&1; then
    tail -n 15 "$log" >&2
    echo "setup: apt-get failed (above); is the network up?" >&2
    return 2
  fi
  rm -f "$log"
}
install_packages || exit 2

# What some tests ask: Python's safetensors, pycocotools and onnxruntime, which check our model files, our mean average
# precision and what we export, and a browser, which loads the report. Without them those tests are skipped and counted, and
# the absence stops nothing: an offline machine builds and passes.
[ "${1:-}" = --tests ] || exit 0
if ! command -v chromium chromium-browser google-chrome >/dev/null && [ -z "${ESPALIER_CHROMIUM:-}" ]; then
  packages=(chromium)
  install_packages || echo "setup: chromium could not be installed (offline?); its tests will be skipped"
fi
if ! build/python/bin/python -c 'import safetensors, numpy, pycocotools, onnxruntime' 2>/dev/null; then
  python=/usr/bin/python3
  [ -x "$python" ] || python=python3
  if ! { "$python" -m venv build/python && build/python/bin/python -m pip install --quiet --retries 0 --timeout 15 \
    safetensors numpy pycocotools onnxruntime; } >/dev/null 2>&1; then
    echo "setup: Python's safetensors, pycocotools and onnxruntime could not be installed (offline?); their tests will be skipped"
  fi
fi
