#!/usr/bin/env bash
# Standard streams that are full or closed: what cannot be printed is said, and nothing is printed into files.
#   standard_streams.sh ESPALIER
set -euo pipefail
espalier=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

# refused NAME CODE: the last command ended with 2 and said why.
refused() {
  [ "$2" = 2 ] && grep -q '^espalier: standard output cannot be written to' error.txt ||
    { echo "$1: exit code $2, $(cat error.txt)"; exit 1; }
}
for arguments in "recipe --schema" "recipe --schema --json" --help; do
  code=0
  "$espalier" $arguments >/dev/full 2>error.txt || code=$?
  refused "$arguments on a full disk" $code
  code=0
  "$espalier" $arguments >&- 2>error.txt || code=$?
  refused "$arguments without standard output" $code
done

"$espalier" data make data --classes 2 --train 4 --val 2 --test 0 --size 32
"$espalier" train --data data --set data.size=32 --set data.batch=4 --epochs 1 --out run 2>&-
logged=$(grep -rlaE 'top1 [0-9.]+ %' run || true)
[ -z "$logged" ] || { echo "the log went into $logged"; exit 1; }
