#!/usr/bin/env bash
# Everything from nothing: installs what is missing, builds, and runs recipes/quickstart.yaml, the whole flow on
# pictures that the program draws itself. Ends with the result table; fails when a bound of the recipe does not hold.
# Arguments go to `espalier run`, for example --set training.epochs=2.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh
scripts/build.sh build -DESPALIER_CUDA=OFF -- espalier
exec build/espalier run recipes/quickstart.yaml "$@"
