#!/usr/bin/env bash
# A training that finds too little memory on the emulated GPU says which batch fits, and that one does.
#   out_of_memory.sh ESPALIER
set -euo pipefail
espalier=$1
export ESPALIER_AUTOTUNE=off ESPALIER_EMULATED_MEMORY=22 OMP_NUM_THREADS=1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"$espalier" data make data --classes 2 --train 8 --val 2 --test 0 --size 64
# train BATCH: two epochs
train() {
  "$espalier" train --data data --out run --epochs 2 --batch "$1" --set data.size=64 --set model.width=0.5 --device cuda \
    --precision bf16 >log 2>&1
}
code=0
train 16 || code=$?
[ $code = 2 ] || { echo "exit code $code"; cat log; exit 1; }
tail -n 1 log
fits=$(sed -n 's/.*; lower the batch or the image size; a batch of \([0-9]*\) fits.*/\1/p' log)
[ -n "$fits" ] || exit 1
rm -rf run
train "$fits" || { echo "a batch of $fits does not fit"; cat log; exit 1; }
