#!/usr/bin/env bash
# Checks the program on a GPU, from binaries that may have been built on a machine without one.
#   gpu_check.sh bundle [--build FOLDER] [--own-libraries LIST] OUT   makes OUT: binaries, shared libraries, recipes
#   gpu_check.sh run [--sections LIST] [--filter GTEST] [--limit SECONDS] [--out FOLDER] BUNDLE
# Sections, by default all but peers_autotuned, as a list with commas:
#   device      which GPU answers, what `espalier bench --device cuda` says without a model
#   tests       every test, with ESPALIER_REQUIRE_CUDA=1
#   memcheck racecheck initcheck   the device tests of test_ops and test_tensor under compute-sanitizer, where it is found
#   bench       the kernels of the three networks against the libraries, training steps, latency in bf16 and INT8, of the
#               whole networks and of ones cut to odd widths
#   peers       PyTorch on the same networks (tests/bench/peers.py), where this machine's python3 has it
#   peers_autotuned   the same with max-autotune, at batch 1; minutes a network
#   recipe      recipes/quickstart.yaml with device: cuda
# --own-libraries names libraries that the other machine brings itself (libcudnn,libcublasLt are large). Every section
# writes FOLDER/SECTION*.log; FOLDER/summary.txt has a line for each thing that ran. Fails if one of them did.
set -euo pipefail

usage() {
  sed -n '2,16s/^# \{0,1\}//p' "$0" >&2
  exit 2
}

# --- bundle ---

bundle() {
  local build=build-cuda own= out=
  while [ $# -gt 0 ]; do
    case $1 in
      --build) build=$2 && shift ;;
      --own-libraries) own=$2 && shift ;;
      -*) usage ;;
      *) out=$1 ;;
    esac
    shift
  done
  [ -n "$out" ] || usage
  local here
  here=$(cd "$(dirname "$0")/.." && pwd)
  mkdir -p "$out/bin" "$out/lib"
  local binary count=0
  for binary in "$build"/espalier "$build"/tests/test_* "$build"/tests/bench/bench_*; do
    [ -f "$binary" ] && [ -x "$binary" ] || continue
    strip -o "$out/bin/$(basename "$binary")" "$binary"
    count=$((count + 1))
  done
  [ "$count" -gt 0 ] || {
    echo "gpu_check: $build holds no binaries; build with -DESPALIER_CUDA=ON first" >&2
    exit 2
  }
  # What belongs to the C library and the driver has to be the other machine's.
  local system='^(linux-vdso|ld-linux|libc|libm|libdl|librt|libpthread|libcuda)\.|^(ld-linux-x86-64|libcuda)\.'
  ldd "$out"/bin/* | awk '$2 == "=>" && $3 ~ /^\// {print $1, $3}' | sort -u | while read -r name path; do
    [[ $name =~ $system ]] && continue
    [ -n "$own" ] && [[ ${name%%.so*} =~ ^(${own//,/|})$ ]] && continue
    cp -L "$path" "$out/lib/$name"
    # cuDNN opens the rest of itself by name.
    if [ "${name%%.so*}" = libcudnn ]; then cp -L "$(dirname "$path")"/libcudnn_*.so.* "$out/lib/"; fi
  done
  mkdir -p "$out/source/tests/datasets" "$out/source/scripts"
  cp -r "$here"/{recipes,kernels,src,models,datasets,README.md,CMakeLists.txt} "$out/source/"
  cp -r "$here"/tests/* "$out/source/tests/"
  cp "$0" "$out/source/scripts/"
  echo "gpu_check: $out: $count binaries, $(find "$out/lib" -type f | wc -l) libraries, $(du -sh "$out" | cut -f1)"
}

# --- run ---

run() {
  local sections=device,tests,memcheck,racecheck,initcheck,bench,peers,recipe filter='*' limit=600 out=gpu_check bundle=
  while [ $# -gt 0 ]; do
    case $1 in
      --sections) sections=$2 && shift ;;
      --filter) filter=$2 && shift ;;
      --limit) limit=$2 && shift ;;
      --out) out=$2 && shift ;;
      -*) usage ;;
      *) bundle=$1 ;;
    esac
    shift
  done
  [ -n "$bundle" ] && [ -d "$bundle/bin" ] || usage
  bundle=$(cd "$bundle" && pwd)
  mkdir -p "$out"
  out=$(cd "$out" && pwd)
  export LD_LIBRARY_PATH="$bundle/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
  export ESPALIER_SOURCE="$bundle/source" ESPALIER_RECIPES="$bundle/source/recipes"
  export ESPALIER_TUNING="$out/tuning.txt" OMP_WAIT_POLICY=passive
  cd "$bundle/source"
  failures=0
  : >"$out/summary.txt"

  # note NAME COMMAND ...: runs it into NAME.log, one line in the summary.
  note() {
    local name=$1 start=$SECONDS code=0 word
    shift
    timeout "$limit" "$@" >"$out/$name.log" 2>&1 || code=$?
    case $code in
      0) word=ok ;;
      124) word="TOO LONG" ;;
      *) word=FAILED ;;
    esac
    [ "$code" -eq 0 ] || failures=$((failures + 1))
    local counts
    counts=$(grep -E '^\[  (PASSED|SKIPPED|FAILED) *\] [0-9]+ test|ERROR SUMMARY|^[0-9]+ FAILED' "$out/$name.log" |
      sed -E 's/^\[ *| *\]//g; s/, listed below:?//; s/^=+ *//' | paste -sd';' | cut -c1-200 || true)
    printf '%-9s %-28s %5d s  %s\n' "$word" "$name" $((SECONDS - start)) "$counts" | tee -a "$out/summary.txt"
    if [ "$code" -ne 0 ]; then
      grep -E '^\[  FAILED  \] [^0-9]|error|Error|========= ' "$out/$name.log" | sort -u | head -12 |
        cut -c1-240 | sed 's/^/            /' | tee -a "$out/summary.txt" || true
    fi
  }

  # sanitize TOOL: finds it on the path, beside CUDA, or says that it is missing.
  sanitize() {
    local tool=$1 program
    program=$(command -v compute-sanitizer || ls /usr/local/cuda*/bin/compute-sanitizer 2>/dev/null | head -1 || true)
    if [ -z "$program" ]; then
      printf '%-9s %-28s compute-sanitizer is not on this machine\n' skipped "$tool" | tee -a "$out/summary.txt"
      return
    fi
    local test
    for test in test_ops test_tensor; do
      [ -x "$bundle/bin/$test" ] || continue
      ESPALIER_AUTOTUNE=off ESPALIER_NAN_FILL=0 ESPALIER_BLOCKS=exact note "$tool.$test" "$program" --tool "$tool" --error-exitcode 9 \
        "$bundle/bin/$test" --gtest_filter='*/cuda*:-*OutOfMemory*'
    done
  }

  # bench NAME PROGRAM OPTION ...: benches are built on demand, so that a bundle may lack some.
  bench() {
    local name=$1 program=bench_$2
    shift 2
    if [ ! -x "$bundle/bin/$program" ]; then
      printf '%-9s %-28s %s is not in the bundle\n' skipped "$name" "$program" | tee -a "$out/summary.txt"
      return
    fi
    note "$name" "$bundle/bin/$program" "$@"
  }

  # peers NAME OPTION ...: with the libraries that PyTorch brings, not the bundle's.
  peers() {
    local name=$1
    shift
    if ! env -u LD_LIBRARY_PATH python3 -c 'import torch' 2>/dev/null; then
      printf '%-9s %-28s python3 has no PyTorch on this machine\n' skipped "$name" | tee -a "$out/summary.txt"
      return
    fi
    note "$name" env -u LD_LIBRARY_PATH python3 tests/bench/peers.py "$@" --device cuda --engines torch --seconds 2
  }

  local section test
  for section in ${sections//,/ }; do
    case $section in
      device)
        note device.nvidia_smi nvidia-smi
        note device.copies "$bundle/bin/test_tensor" --gtest_filter='*/cuda*'
        ;;
      tests)
        for test in "$bundle"/bin/test_*; do
          ESPALIER_REQUIRE_CUDA=1 ESPALIER_NAN_FILL=1 note "tests.$(basename "$test")" "$test" \
            --gtest_filter="$filter" --gtest_brief=0
        done
        ;;
      memcheck | racecheck | initcheck) sanitize "$section" ;;
      bench)
        local precision net
        for precision in fp32 tf32 bf16; do
          bench "bench.gpu_layers.$precision" gpu_layers --precision "$precision"
        done
        for net in mobilenet_v2 yolov3_mobilenet_v1 unet; do
          for precision in tf32 bf16; do
            bench "bench.train.$net.$precision" train_step --device cuda --net "$net" --precision "$precision" \
              --benchmark_filter=prepared
          done
          bench "bench.latency.$net" session --device cuda --net "$net" --seconds 2
          bench "bench.latency_cut.$net" session --device cuda --net "$net" --keep 0.7 --seconds 2
        done
        ;;
      peers)
        peers peers.infer infer
        peers peers.train train --modes graph,compile,reduce-overhead
        ;;
      peers_autotuned) peers peers.autotuned infer --modes max-autotune ;;
      recipe)
        note recipe.quickstart "$bundle/bin/espalier" run recipes/quickstart.yaml --device cuda \
          --set "data.root=$out/data" --out "$out/quickstart"
        ;;
      *)
        echo "gpu_check: section '$section' is unknown" >&2
        usage
        ;;
    esac
  done
  echo "gpu_check: $failures failed; $out/summary.txt"
  [ "$failures" -eq 0 ]
}

case ${1:-} in
  bundle) shift && bundle "$@" ;;
  run) shift && run "$@" ;;
  *) usage ;;
esac
