#!/usr/bin/env bash
# Installs, moves what was installed, and uses it from there: the program finds its recipes, and the README's program of
# one's own, built against the package, sees on a picture what `espalier predict` sees.
#   install.sh BUILD_FOLDER CXX_COMPILER
set -euo pipefail
build=$1 compiler=$2
app=$(cd "$(dirname "$0")" && pwd)/app
unset ESPALIER_RECIPES

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cmake --install "$build" --prefix "$folder/first" >"$folder/install.log"
mv "$folder/first" "$folder/a place"
cd "$folder"
espalier="$folder/a place/bin/espalier"

missing=$("$espalier" recipe quickstrat 2>&1) && exit 1
for part in "a place/share/espalier/recipes" "did you mean 'quickstart'"; do
  [[ $missing == *$part* ]] || { echo "install: '$part' is not in: $missing"; exit 1; }
done
"$espalier" recipe quickstart >recipe.json
"$espalier" data make data --classes 3 --train 12 --val 3 --test 0 --size 64
"$espalier" train --data data --set data.size=64 --set data.batch=6 --epochs 1 --out . 2>train.log
"$espalier" prune train/model.safetensors --sensitivity DEFAULT --keep-macs 0.5 --out small.safetensors 2>prune.log
picture=$(find data -name '*.jpg' -o -name '*.png' | sort | head -1)

cmake -S "$app" -B app -DCMAKE_PREFIX_PATH="$folder/a place" -DCMAKE_CXX_COMPILER="$compiler" \
  -DCMAKE_CXX_FLAGS="-Wall -Wextra -Werror" >app.log 2>&1 || { cat app.log; exit 1; }
cmake --build app >>app.log 2>&1 || { cat app.log; exit 1; }
app/app small.safetensors "$picture" >seen.txt
# "carrot 0.91" a line; the command line says "carrot 91.0 %" of each.
shown=$("$espalier" predict small.safetensors "$picture")
[ "$(wc -l <seen.txt)" = 3 ] || { cat seen.txt; exit 1; }
while read -r label score; do
  line=$(awk -v l="$label" -v s="$score" 'BEGIN {printf "%s %.1f %%", l, 100 * s}')
  [[ $shown == *"$line"* ]] || { echo "install: the program sees $line, predict $shown"; exit 1; }
done <seen.txt
! app/app small.safetensors nowhere.jpg 2>error.txt || exit 1
grep -q '^nowhere.jpg: ' error.txt
