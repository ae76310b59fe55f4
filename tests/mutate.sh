#!/usr/bin/env bash
# Makes the wrong edits of tests/mutations one at a time in a copy of the tree and demands that the test each
# one names fails.
#   tests/mutate.sh [NAME ...]     all of them, or those
# The copy and its build stay in build-mutate/ (or $ESPALIER_MUTATE_DIR), so that a second run builds only what
# changed. ESPALIER_JOBS limits the compilers. Exit 1 if an edit survives, does not apply, or does not compile.
#
# A mutation is four lines: "what:" in words, "file:" to edit, "edit:" for sed, "test:" the executable and the
# cases (a GoogleTest filter). One with "build: emulated" is of the CUDA side and tried on the GPU that the host plays
# (tests/emulated_cuda).
set -euo pipefail
cd "$(dirname "$0")/.."

root=$PWD
folder=${ESPALIER_MUTATE_DIR:-$root/build-mutate}
copy=$folder/tree
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
# build_of MUTATION: the folder of its build
build_of() { echo "$folder/build$(sed -n 's/^build: /-/p' "$1")"; }
# make_target BUILD TARGET...
make_target() { cmake --build "$1" -j "$jobs" --target "${@:2}" >"$log" 2>&1; }
# run BUILD TARGET FILTER: the status of the cases; 99 if the filter names none
run() {
  [ -n "$("$1/tests/$2" --gtest_filter="$3" --gtest_list_tests 2>/dev/null)" ] || return 99
  local order orders=(any)
  [[ $1 != *-emulated ]] || orders=(late crossed)  # what a GPU leaves open, taken one way and the other
  for order in "${orders[@]}"; do
    (cases_in_order "$order" "$@"; exit $?) >"$log" 2>&1 || return
  done
}
cases_in_order() {
  [ "$1" = any ] || export ESPALIER_EMULATED_STREAM=$1 ESPALIER_AUTOTUNE=off
  timeout 120 "$2/tests/$3" --gtest_filter="$4"
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

# targets_of BUILD: what the mutations that are tried there need
targets_of() {
  for mutation in "${mutations[@]}"; do
    [ "$(build_of "$mutation")" != "$1" ] || { read -r target _ < <(field "$mutation" test) && echo "$target"; }
  done | sort -u
}
# prepare BUILD CUDA
prepare() {
  local targets
  mapfile -t targets < <(targets_of "$1")
  [ ${#targets[@]} -gt 0 ] || return 0
  echo "mutate: building ${targets[*]} (CUDA $2)"
  cmake -S "$copy" -B "$1" -G Ninja -DESPALIER_CUDA="$2" >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
  make_target "$1" "${targets[@]}" || { tail -20 "$log" | cut -c1-300 >&2; echo "mutate: the tree does not build" >&2; exit 1; }
}
echo "mutate: ${#mutations[@]} edits"
prepare "$folder/build" OFF
prepare "$folder/build-emulated" EMULATED

survived=0
report() { printf '%-44s %s\n' "$1" "$2"; }
sound=()
for mutation in "${mutations[@]}"; do
  read -r target filter < <(field "$mutation" test)
  if run "$(build_of "$mutation")" "$target" "$filter"; then
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
  build=$(build_of "$mutation")
  if ! make_target "$build" "$target"; then
    report "$name" "BROKEN: does not compile, see $log"
    survived=$((survived + 1))
    cp "$log" "$log.$name"
  elif run "$build" "$target" "$filter"; then
    report "$name" "SURVIVED $target $filter"
    survived=$((survived + 1))
  else
    report "$name" "caught by $target $filter"
  fi
  cp "$file" "$copy/$file"
done

[ $survived -eq 0 ] || { echo "mutate: $survived of ${#mutations[@]} not caught" >&2; exit 1; }
echo "mutate: all ${#mutations[@]} caught"
