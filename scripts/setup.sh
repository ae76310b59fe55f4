#!/usr/bin/env bash
# Installs what the build needs and is missing. Quick and quiet when all is there.
set -euo pipefail

packages=(build-essential cmake ninja-build ccache pkg-config libdnnl-dev libtbb-dev libyaml-cpp-dev libcli11-dev
          nlohmann-json3-dev libspdlog-dev libfmt-dev libpng-dev libstb-dev libgtest-dev libbenchmark-dev
          python3 python3-venv)

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  echo "setup: this is no Debian or Ubuntu; install what scripts/setup.sh lists by your own package manager:" >&2
  echo "  ${packages[*]}" >&2
  exit 2
fi

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "setup: missing packages, and neither root nor sudo is at hand; as root run: apt-get install ${missing[*]}" >&2
    exit 2
  fi
  as_root=(sudo)
fi
echo "setup: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
