#!/usr/bin/env bash
# Runs a whole recipe on the emulated GPU and on the CPU: training, sensitivity, pruning, retraining, INT8 and timing of a
# network that is as small as it gets. Both end, and begin at the same loss; what follows, on a handful of pictures, is chance.
#   recipes.sh ESPALIER classification|segmentation|detection
set -euo pipefail
espalier=$1 task=$2
export ESPALIER_AUTOTUNE=off ESPALIER_NAN_FILL=1 ESPALIER_BLOCKS=exact OMP_NUM_THREADS=1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

case $task in
  classification)
    size=32
    head='model: {name: mobilenet_v2, width: 0.25}
data: {format: image_list, root: data, size: 32, batch: 4, make: {classes: 2, train: 2, val: 2, test: 0, size: 36}'
    measure='- sensitivity: {from: baseline, ratios: [0.5], criterion: taylor}
  - prune: {name: cut, keep_macs: 0.6}'
    ;;
  segmentation)
    size=16
    head='model: {name: unet, logits: single}
task: {losses: [dice, bce]}
data: {format: segmentation_list, root: data, size: 16, batch: 2, make: {train: 2, val: 1, test: 0, size: 16}'
    measure='- prune: {name: cut, from: baseline, keep_macs: 0.3, sensitivity: DEFAULT}'
    ;;
  detection)
    size=32
    head='model: {name: yolov3_mobilenet_v1}
data: {format: voc, root: data, size: 32, batch: 2, make: {classes: 2, train: 2, val: 1, test: 0, size: 48}'
    measure='- prune: {name: cut, from: baseline, keep_macs: 0.3, sensitivity: DEFAULT}'
    ;;
esac
cat >recipe.yaml <<RECIPE
$head, transforms: {train: [{name: resize, width: $size, height: $size}, {name: normalize}], eval: [{name: resize, width: $size, height: $size}, {name: normalize}]}}
training: {epochs: 1, keep: last, clip: 10, ema: 0.9, optimizer: {name: sgd, lr: 0.001, momentum: 0.9}}
stages:
  - train: {name: baseline}
  $measure
  - train: {name: pruned, distill: {from: baseline}}
  - int8: {name: int8, calibration_batches: 1}
  - bench: {seconds: 0.01, batch: 2}
RECIPE

"$espalier" run recipe.yaml --out cpu --set device=cpu >cpu.log 2>&1 || { cat cpu.log; exit 1; }
"$espalier" run recipe.yaml --out cuda --set device=cuda --set precision=bf16 >cuda.log 2>&1 || { tail -30 cuda.log; exit 1; }
grep -q '"processor": *"emulated' cuda/result.json || { cat cuda/result.json; exit 1; }
# An epoch is one step, whose loss is the third column. What bf16 rounds moves it by less than a twentieth.
loss() { tail -n 1 "$1/baseline/epochs.csv" | cut -d, -f3; }
echo "loss on the CPU $(loss cpu), on the emulated GPU $(loss cuda)"
awk -v a="$(loss cpu)" -v b="$(loss cuda)" 'BEGIN { d = a - b; exit !((d < 0 ? -d : d) <= 0.05 * a) }' ||
  { echo "they differ"; exit 1; }
