"""Runs the networks of a folder that test_models wrote (onnx_test.cpp) in ONNX Runtime, as they stand there and
optimised, and compares what comes out with what it should be. Exits with 77 without the package."""

import json
import pathlib
import sys

try:
    import numpy
    import onnxruntime
except ImportError as missing:
    print("check_onnx:", missing)
    sys.exit(77)


def read(folder, entry):
    return numpy.fromfile(folder / entry["file"], entry["type"]).reshape(entry["shape"])


def error_of(got, want):
    """Of the whole, with channels where ours are."""
    if got.ndim == 4:
        got = got.transpose(0, 2, 3, 1)
    assert got.shape == want.shape, f"{got.shape} instead of {want.shape}"
    return numpy.linalg.norm(got - want) / numpy.linalg.norm(want)


def check(folder, case, level):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    session = onnxruntime.InferenceSession(folder / case["model"], options, providers=["CPUExecutionProvider"])
    assert [i.name for i in session.get_inputs()] == [case["name"]]
    assert json.loads(session.get_modelmeta().custom_metadata_map["espalier.labels"]) == case["labels"]
    pictures = read(folder, case["input"])
    if case["name"] == "images":
        pictures = numpy.ascontiguousarray(pictures.transpose(0, 3, 1, 2))
    wanted = [read(folder, output) for output in case["outputs"]]
    worst = 0.0
    for count in {len(pictures), 1} if case["open"] else {len(pictures)}:
        got = session.run(None, {case["name"]: pictures[:count]})
        assert len(got) == len(wanted)
        worst = max([worst] + [error_of(g, w[:count]) for g, w in zip(got, wanted)])
    return worst


def main():
    folder = pathlib.Path(sys.argv[1])
    cases = json.loads((folder / "cases.json").read_text())
    levels = onnxruntime.GraphOptimizationLevel
    bad = 0
    for case in cases:
        # Optimised INT8 has the runtime's own arithmetic, which saturates between products on CPUs without VNNI.
        at = [levels.ORT_DISABLE_ALL] if "int8" in case["model"] else [levels.ORT_DISABLE_ALL, levels.ORT_ENABLE_ALL]
        worst = max(check(folder, case, level) for level in at)
        bad += worst > case["tolerance"]
        print(f"{case['model']}: {worst:.2e}, {case['tolerance']:.0e} is allowed")
    assert cases, "there are no cases"
    sys.exit(1 if bad else 0)


main()
