#!/usr/bin/env bash
# Makes the wrong edits of tests/mutations one at a time in a copy of the tree and demands that the test each
# one names fails.
#   tests/mutate.sh [NAME ...]     all of them, or those
# The copy and its build stay in build-mutate/ (or $ESPALIER_MUTATE_DIR), so that a second run builds only what
# changed. ESPALIER_JOBS limits the compilers. Exit 1 if an edit survives, does not apply, or does not compile.
#
# A mutation is four lines: "what:" in words, "file:" to edit, "edit:" for sed, "test:" the executable and the
# cases (a GoogleTest filter).
set -euo pipefail
cd "$(dirname "$0")/.."

root=$PWD
folder=${ESPALIER_MUTATE_DIR:-$root/build-mutate}
copy=$folder/tree
build=$folder/build
log=$folder/log
jobs=${ESPALIER_JOBS:-$(nproc)}
export ESPALIER_NAN_FILL=1 ESPALIER_SHARED=${ESPALIER_SHARED:-$root/../shared} OMP_WAIT_POLICY=passive

mutations=()
if [ $# -gt 0 ]; then
  for name in "$@"; do mutations+=("tests/mutations/$name.txt"); done
else
  mutations=(tests/mutations/*.txt)
fi
for mutation in "${mutations[@]}"; do
  [ -f "$mutation" ] || { echo "mutate: there is no $mutation" >&2; exit 2; }
done

# field MUTATION KEY
field() { sed -n "s/^$2: //p" "$1"; }
make_target() { cmake --build "$build" -j "$jobs" --target "$@" >"$log" 2>&1; }
# run TARGET FILTER: the status of the cases; 99 if the filter names none
run() {
  [ -n "$("$build/tests/$1" --gtest_filter="$2" --gtest_list_tests 2>/dev/null)" ] || return 99
  (timeout 120 "$build/tests/$1" --gtest_filter="$2"; exit $?) >"$log" 2>&1
}

# Files are written only where they differ, so that times of the others keep the build incremental.
mkdir -p "$copy"
git ls-files -co --exclude-standard | while read -r file; do
  [ -f "$file" ] || continue
  cmp -s "$file" "$copy/$file" || install -D -m "$(stat -c %a "$file")" "$file" "$copy/$file"
done
(cd "$copy" && find . -type f) | while read -r file; do
  [ -f "$file" ] || rm "$copy/$file"
done

cmake -S "$copy" -B "$build" -G Ninja -DESPALIER_CUDA=OFF >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
targets=()
for mutation in "${mutations[@]}"; do
  read -r target _ < <(field "$mutation" test)
  targets+=("$target")
done
mapfile -t targets < <(printf '%s\n' "${targets[@]}" | sort -u)
echo "mutate: ${#mutations[@]} edits; building ${targets[*]}"
make_target "${targets[@]}" || { tail -20 "$log" | cut -c1-300 >&2; echo "mutate: the tree does not build" >&2; exit 1; }

survived=0
report() { printf '%-44s %s\n' "$1" "$2"; }
sound=()
for mutation in "${mutations[@]}"; do
  read -r target filter < <(field "$mutation" test)
  if run "$target" "$filter"; then
    sound+=("$mutation")
  else
    report "$(basename "$mutation" .txt)" "BROKEN: $target $filter fails or is missing without the edit"
    survived=$((survived + 1))
  fi
done
for mutation in "${sound[@]}"; do
  name=$(basename "$mutation" .txt)
  file=$(field "$mutation" file)
  read -r target filter < <(field "$mutation" test)
  sed -i "$(field "$mutation" edit)" "$copy/$file"
  if cmp -s "$file" "$copy/$file"; then
    report "$name" "BROKEN: the edit changes nothing in $file"
    survived=$((survived + 1))
    continue
  fi
  if ! make_target "$target"; then
    report "$name" "BROKEN: does not compile, see $log"
    survived=$((survived + 1))
    cp "$log" "$log.$name"
  elif run "$target" "$filter"; then
    report "$name" "SURVIVED $target $filter"
    survived=$((survived + 1))
  else
    report "$name" "caught by $target $filter"
  fi
  cp "$file" "$copy/$file"
done

[ $survived -eq 0 ] || { echo "mutate: $survived of ${#mutations[@]} not caught" >&2; exit 1; }
echo "mutate: all ${#mutations[@]} caught"
