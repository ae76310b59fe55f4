"""Times PyTorch, ONNX Runtime and OpenVINO on the networks of models/; one JSON object a line, as bench_session prints.

Layers and numbers of parameters are those of models/*.cpp; weights and inputs are random, which speed does not depend
on. An engine that fails gives a line with "error", and the others go on; the exit status is 1 then, 2 for wrong usage.
"""
import argparse
import gc
import json
import os
import statistics
import sys
import tempfile
import time

try:
    import torch
    import torch._inductor.config
    from torch import nn
    from torch.nn import functional as F
except ImportError:
    print("peers: PyTorch is missing; run tests/bench/peers.sh, which installs it", file=sys.stderr)
    sys.exit(2)

# --- networks ---


def conv_bn(inputs, outputs, kernel, stride=1, act=None, groups=1):
    """A convolution without bias, a batch norm, an activation."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), *([act] if act else []))


class InvertedResidual(nn.Module):
    def __init__(self, inputs, outputs, expand, stride):
        super().__init__()
        wide = inputs * expand
        first = [conv_bn(inputs, wide, 1, act=nn.ReLU6(True))] if expand > 1 else []
        depthwise = conv_bn(wide, wide, 3, stride, nn.ReLU6(True), wide)
        self.layers = nn.Sequential(*first, depthwise, conv_bn(wide, outputs, 1))
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x):
        return x + self.layers(x) if self.shortcut else self.layers(x)


class MobileNetV2(nn.Module):
    def __init__(self, classes):
        super().__init__()
        layers, channels = [conv_bn(3, 32, 3, 2, nn.ReLU6(True))], 32
        for expand, outputs, blocks, stride in [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
                                                (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]:
            for block in range(blocks):
                layers.append(InvertedResidual(channels, outputs, expand, 1 if block else stride))
                channels = outputs
        self.features = nn.Sequential(*layers, conv_bn(320, 1280, 1, act=nn.ReLU6(True)))
        self.classifier = nn.Linear(1280, classes)

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


class YoloV3MobileNetV1(nn.Module):
    """Three heads of 3 * (5 + classes) channels, the coarsest first."""

    def __init__(self, classes):
        super().__init__()
        blocks, channels = [], 32
        shapes = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)] + 5 * [(512, 1)] + [(1024, 2), (1024, 1)]
        for outputs, stride in shapes:
            depthwise = conv_bn(channels, channels, 3, stride, nn.ReLU(True), channels)
            blocks.append(nn.Sequential(depthwise, conv_bn(channels, outputs, 1, act=nn.ReLU(True))))
            channels = outputs
        self.stem, self.blocks = conv_bn(3, 32, 3, 2, nn.ReLU(True)), nn.ModuleList(blocks)

        def leaky(inputs, outputs, kernel):
            return conv_bn(inputs, outputs, kernel, act=nn.LeakyReLU(0.1, True))

        self.routes, self.tips, self.transitions = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for n, inputs in zip((512, 256, 128), (1024, 512 + 256, 256 + 128)):
            self.routes.append(nn.Sequential(leaky(inputs, n, 1), leaky(n, 2 * n, 3), leaky(2 * n, n, 1),
                                             leaky(n, 2 * n, 3), leaky(2 * n, n, 1)))
            self.tips.append(nn.Sequential(leaky(n, 2 * n, 3), nn.Conv2d(2 * n, 3 * (5 + classes), 1)))
            self.transitions.append(leaky(n, n // 2, 1) if n > 128 else nn.Identity())

    def forward(self, x):
        maps, x = {}, self.stem(x)
        for number, block in enumerate(self.blocks, 1):
            maps[number] = x = block(x)
        heads, route = [], None
        for n, there in enumerate((maps[13], maps[11], maps[4])):
            if n:
                finer = F.interpolate(self.transitions[n - 1](route), scale_factor=2.0, mode="nearest")
                there = torch.cat((finer, there), 1)
            route = self.routes[n](there)
            heads.append(self.tips[n](route))
        return tuple(heads)


class UNet(nn.Module):
    def __init__(self, classes):
        super().__init__()

        def two(inputs, outputs):
            return nn.Sequential(conv_bn(inputs, outputs, 3, act=nn.ReLU(True)),
                                 conv_bn(outputs, outputs, 3, act=nn.ReLU(True)))

        down = (3, 64, 128, 256, 512, 512)
        self.down = nn.ModuleList(two(a, b) for a, b in zip(down, down[1:]))
        self.up = nn.ModuleList(two(a, b) for a, b in ((1024, 256), (512, 128), (256, 64), (128, 64)))
        self.logits = nn.Conv2d(64, classes, 3, 1, 1, bias=False)

    def forward(self, x):
        skips = []
        for n, layers in enumerate(self.down):
            x = layers(F.max_pool2d(x, 2) if n else x)
            skips.append(x)
        for layers, skip in zip(self.up, skips[-2::-1]):
            larger = F.interpolate(x, size=skip.shape[2:], mode="bilinear", align_corners=True)
            x = layers(torch.cat((larger, skip), 1))
        return self.logits(x)


# name: class, classes, pixels, (batch, pixels) of a training on a CPU and on a GPU, parameters of models/*.cpp
NETS = {
    "mobilenet_v2": (MobileNetV2, 1000, 224, (32, 224), (64, 224), 3504872),
    "yolov3_mobilenet_v1": (YoloV3MobileNetV1, 6, 608, (4, 320), (8, 608), 24172707),
    "unet": (UNet, 2, 512, (2, 256), (4, 512), 13392448),
}


def build(name):
    kind, classes, *_, parameters = NETS[name]
    torch.manual_seed(1)
    net = kind(classes)
    found = sum(p.numel() for p in net.parameters())
    assert found == parameters, f"{name} has {found} parameters, models/{name}.cpp makes {parameters}"
    return net


def loss_of(name, outputs, batch):
    """Of the cost of the task's own: cross entropies, and for the detector squares over all three heads."""
    if name == "yolov3_mobilenet_v1":
        return sum(head.float().square().mean() for head in outputs)
    labels = torch.zeros(outputs.shape[:1] + outputs.shape[2:], dtype=torch.long, device=outputs.device)
    return F.cross_entropy(outputs.float(), labels)


# --- timing ---


def time_calls(o, run):
    """Milliseconds of the first call, and sorted ones of each later in o.seconds.

    A training on a GPU queues its steps, so there a time is the mean of eight; all others end when the device has."""
    wait = torch.cuda.synchronize if o.device == "cuda" else lambda: None
    calls = 8 if o.device == "cuda" and o.what == "train" else 1

    def timed(count):
        start = time.perf_counter()
        for _ in range(count):
            run()
        wait()
        return (time.perf_counter() - start) / count * 1e3

    first, times = timed(1), []
    if o.device == "cuda" and not isinstance(run, Recorded):
        torch.cuda.reset_peak_memory_stats()  # what compiling took does not count
    timed(3)
    end = time.perf_counter() + o.seconds
    while time.perf_counter() < end or len(times) < 3:
        times.append(timed(calls))
    return first, sorted(times)


def report(o, net, what, batch, size, make):
    """Times what make() gives and prints a line; returns False if it failed."""
    line = {"net": net, "what": what, "batch": batch, "size": size, "threads": o.threads}
    try:
        if o.device == "cuda":  # what the last one held is not this one's
            gc.collect()
            torch.cuda.empty_cache()
        first, times = time_calls(o, make())
        ms = statistics.median(times)
        line |= {"ms": round(ms, 3), "p5": round(times[len(times) // 20], 3),
                 "p95": round(times[len(times) * 19 // 20], 3), "images_per_s": round(batch / ms * 1e3, 1),
                 "first_ms": round(first, 1)}
        if o.device == "cuda":
            line |= {"memory_mib": torch.cuda.max_memory_allocated() >> 20,
                     "held_mib": torch.cuda.max_memory_reserved() >> 20}
    except Exception as e:  # whatever an engine throws, the others are still wanted
        line["error"] = str(e).strip().split("\n")[0][:300] or type(e).__name__
    print(json.dumps(line), flush=True)
    return "error" not in line


class Recorded:
    """run() as one CUDA graph. Keeps what run() holds: the graph has its addresses."""

    def __init__(self, run):
        self.run, self.graph = run, torch.cuda.CUDAGraph()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                run()
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()  # what a replay needs is what the recording takes
        with torch.cuda.graph(self.graph):
            run()

    def __call__(self):
        self.graph.replay()


def compiled(o, net, mode):
    torch._dynamo.reset()
    # Folds norms and packs filters, as the other engines do.
    torch._inductor.config.freezing = o.what == "infer" and o.device == "cpu"
    return torch.compile(net, mode=None if mode == "compile" else mode)


# --- engines ---


def torch_infer(o, name, mode, batch, size):
    # Weights of bf16: autocast would round them anew in every call.
    form = {"device": o.device, "dtype": torch.bfloat16 if o.precision == "bf16" else torch.float32}
    net = build(name).eval().to(**form, memory_format=torch.channels_last)
    x = torch.rand(batch, 3, size, size, **form).to(memory_format=torch.channels_last)
    if mode not in ("eager", "graph"):
        net = compiled(o, net, mode)

    @torch.inference_mode()
    def run():
        net(x)

    return Recorded(run) if mode == "graph" else run


def torch_train(o, name, mode, batch, size):
    net = build(name).train().to(o.device, memory_format=torch.channels_last)
    x = torch.rand(batch, 3, size, size, device=o.device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-4, momentum=0.9, weight_decay=4e-5, foreach=True)
    model = net if mode in ("eager", "graph") else compiled(o, net, mode)
    # A cache of rounded weights would keep those of the recorded step.
    bf16 = torch.autocast(o.device, torch.bfloat16, enabled=o.precision == "bf16", cache_enabled=mode != "graph")

    def run():
        optimizer.zero_grad(set_to_none=True)
        with bf16:
            outputs = model(x)
            loss = loss_of(name, outputs, x)
        loss.backward()
        optimizer.step()

    return Recorded(run) if mode == "graph" else run


def exported(name, batch, size, folder):
    """The network as an ONNX file with its norms folded."""
    path = os.path.join(folder, f"{name}.onnx")
    if not os.path.exists(path):
        image = torch.rand(batch, 3, size, size)
        torch.onnx.export(build(name).eval(), (image,), path, input_names=["x"], dynamo=False)
    return path


def quantised(name, batch, size, folder):
    """Its INT8 form: ONNX Runtime's static quantisation, scales per channel, calibrated on noise."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Noise(CalibrationDataReader):
        left = 4

        def get_next(self):
            self.left -= 1
            return {"x": torch.rand(batch, 3, size, size).numpy()} if self.left >= 0 else None

    path, ready = (os.path.join(folder, f"{name}.{suffix}.onnx") for suffix in ("int8", "ready"))
    if not os.path.exists(path):
        quant_pre_process(exported(name, batch, size, folder), ready)
        quantize_static(ready, path, Noise(), quant_format=QuantFormat.QDQ, per_channel=True,
                        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
    return path


def onnxruntime_infer(o, path, batch, size):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = o.threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    x = {"x": torch.rand(batch, 3, size, size).numpy()}
    return lambda: session.run(None, x)


def openvino_infer(o, path, batch, size):
    import openvino

    # bf16 by itself would be another precision than the line says.
    hints = {"INFERENCE_NUM_THREADS": o.threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    request = openvino.Core().compile_model(path, "CPU", hints).create_infer_request()
    request.set_input_tensor(openvino.Tensor(torch.rand(batch, 3, size, size).numpy()))
    return request.infer


def infer(o, name, folder):
    size, batch, fine = o.size or NETS[name][2], o.batch or 1, True
    if "torch" in o.engines:
        for mode in o.modes:
            fine &= report(o, name, f"torch {mode} {o.precision}", batch, size,
                           lambda: torch_infer(o, name, mode, batch, size))
    engines = {"onnxruntime": onnxruntime_infer, "openvino": openvino_infer}
    for engine in (e for e in o.engines if e in engines and o.device == "cpu"):
        for precision, make in (("fp32", exported), ("int8", quantised)):
            fine &= report(o, name, f"{engine} {precision}", batch, size,
                           lambda: engines[engine](o, make(name, batch, size, folder), batch, size))
    return fine


def train(o, name):
    batch, size = NETS[name][4 if o.device == "cuda" else 3]
    batch, size, fine = o.batch or batch, o.size or size, True
    for mode in o.modes:
        fine &= report(o, name, f"torch {mode} {o.precision}, a training step", batch, size,
                       lambda: torch_train(o, name, mode, batch, size))
    return fine


class Parser(argparse.ArgumentParser):
    def error(self, message):
        print(f"peers: {message}; --help lists the options", file=sys.stderr)
        sys.exit(2)


def parse():
    def listed(*words):
        def split(text):
            for word in text.split(","):
                if word not in words:
                    raise argparse.ArgumentTypeError(f"'{word}' is none of {', '.join(words)}")
            return text.split(",")
        return split

    modes = ("eager", "compile", "reduce-overhead", "max-autotune", "graph")
    p = Parser(prog="peers", description=__doc__)
    p.add_argument("what", choices=("infer", "train"))
    p.add_argument("--net", type=listed(*NETS), default=list(NETS), help="with commas; all by default")
    engines = ("torch", "onnxruntime", "openvino")
    p.add_argument("--engines", type=listed(*engines), default=engines, help="with commas; on a GPU PyTorch alone")
    p.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    p.add_argument("--precision", choices=("fp32", "tf32", "bf16"),
                   help="of PyTorch; by default fp32 on a CPU, bf16 on a GPU (all of it; by autocast in a training)")
    p.add_argument("--modes", type=listed(*modes), help="of PyTorch, with commas: " + ", ".join(modes))
    p.add_argument("--batch", type=int, default=0)
    p.add_argument("--size", type=int, default=0, help="pixels of a side")
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--seconds", type=float, default=5)
    o = p.parse_args()
    cuda = o.device == "cuda"
    o.precision = o.precision or ("bf16" if cuda else "fp32")
    on_gpu = ["graph", "reduce-overhead" if o.what == "infer" else "compile"]
    o.modes = o.modes or (on_gpu if cuda else ["eager", "compile"])
    if cuda and not torch.cuda.is_available():
        p.error("--device cuda: PyTorch finds no GPU here")
    if o.what == "train" and o.engines != engines and "torch" not in o.engines:
        p.error("--engines: PyTorch alone trains here")
    if "graph" in o.modes and not cuda:
        p.error("--modes graph: a CUDA graph needs --device cuda")
    return o


def main():
    o = parse()
    torch.set_num_threads(o.threads)
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = o.precision == "tf32"
    with tempfile.TemporaryDirectory() as folder:
        fine = [infer(o, name, folder) if o.what == "infer" else train(o, name) for name in o.net]
    return 0 if all(fine) else 1


if __name__ == "__main__":
    sys.exit(main())
