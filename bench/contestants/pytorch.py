"""The benchmark's VAEs in PyTorch, with the protocol of bench/protocol.ts on stdin and stdout.

Usage: pytorch.py TASK, with a configuration of words joined by "-": eager or compile or jit, then foreach or fused for
Adam, then channelslast for the layout of images. On a GPU: cuda, with float32, tf32 or bfloat16, and graphs to capture the
whole step in a CUDA graph. `pytorch.py --version` prints the version and ends, `pytorch.py --cuda` also the GPU's name.
"""

import contextlib
import json
import os
import resource
import sys
import time

import numpy
import torch
import torch.nn.functional as F
from torch import nn


def layer_of(spec):
    """A layer with its weights; convolutions are "same" in TensorFlow's words."""
    if spec["kind"] == "dense":
        return nn.Linear(spec["inputs"], spec["outputs"])
    kernel, stride, before = spec["kernel"], spec["stride"], (spec["kernel"] - 1) // 2
    if spec["kind"] == "conv":
        return nn.Conv2d(spec["channels"], spec["filters"], kernel, stride, before)
    return nn.ConvTranspose2d(spec["channels"], spec["filters"], kernel, stride, before, stride + 2 * before - kernel)


class Vae(nn.Module):
    def __init__(self, workload):
        super().__init__()
        self.specs = {side: workload[side] for side in ("encoder", "decoder")}
        self.encoder = nn.ModuleList(map(layer_of, workload["encoder"]))
        self.decoder = nn.ModuleList(map(layer_of, workload["decoder"]))
        last = workload["encoder"][-1]
        width = last["outputs"] if last["kind"] == "dense" else (-(-last["size"] // last["stride"])) ** 2 * last["filters"]
        self.mean = nn.Linear(width, workload["latent"])
        self.log_variance = nn.Linear(width, workload["latent"])

    def run(self, side, x):
        for spec, layer in zip(self.specs[side], getattr(self, side)):
            if spec["kind"] == "dense":
                x = x.flatten(1)
            elif x.dim() == 2:
                x = x.view(-1, spec["channels"], spec["size"], spec["size"])
            x = layer(x)
            if spec["relu"]:
                x = F.relu(x)
        return x

    def forward(self, x):
        hidden = self.run("encoder", x).flatten(1)
        mean, log_variance = self.mean(hidden), self.log_variance(hidden)
        hidden = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        return self.run("decoder", hidden), mean, log_variance


def build(task):
    """One training step as a function; it returns the loss tensor without waiting for its value."""
    words = task["configuration"].split("-")
    workload = task["workload"]
    torch.set_num_threads(task["threads"])
    torch.set_flush_denormal(True)  # without it Adam's moments of unused pixels slow every step down
    torch.manual_seed(1)
    device = "cuda" if "cuda" in words else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = "float32" not in words
    torch.backends.cudnn.benchmark = True
    data = torch.from_numpy(numpy.fromfile(task["data"], dtype=numpy.uint8)).view(-1, workload["input"]).to(device).float().div_(255)
    model = Vae(workload).to(device)
    if "image" in workload:
        height, width, channels = workload["image"]
        data = data.view(-1, height, width, channels).permute(0, 3, 1, 2)
        data = data.contiguous(memory_format=torch.channels_last if "channelslast" in words else torch.contiguous_format)
    if "channelslast" in words:
        model = model.to(memory_format=torch.channels_last)
    adam = {word: True for word in words if word in ("foreach", "fused")}
    if "graphs" in words:
        adam["capturable"] = True
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, **adam)
    forward = model
    if "jit" in words:
        forward = torch.jit.trace(model, data[: workload["batch"]], check_trace=False)

    def precision():
        return torch.autocast("cuda", torch.bfloat16) if "bfloat16" in words else contextlib.nullcontext()

    def loss_of(x):
        with precision():
            logits, mean, log_variance = (value.float() for value in forward(x))
        reconstruction = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        return reconstruction - 0.5 * torch.sum(1 + log_variance - mean * mean - log_variance.exp())

    if "compile" in words:
        loss_of = torch.compile(loss_of)

    def step():
        x = data.index_select(0, torch.randint(len(data), (workload["batch"],), device=device))
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(x)
        loss.backward()
        optimizer.step()
        return loss

    return captured(step) if "graphs" in words else step


def captured(step):
    """The step in a CUDA graph, after the warm-up on another stream that capturing asks for (PyTorch's notes on CUDA graphs)."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step()

    def replay():
        graph.replay()
        return loss

    return replay


def run(step, batch, seconds, cuda):
    """On a GPU steps are queued, and waited for every some of them, so that the queue never runs dry."""
    together = 1
    turns = []
    begin = before = time.perf_counter()
    while not turns or before - begin < seconds:
        for _ in range(together):
            loss = step()
        if cuda:
            torch.cuda.synchronize()
        now = time.perf_counter()
        turns.append((together, now - before))
        if cuda:
            together = min(1000, max(1, round(0.1 * together / (now - before))))
        before = now
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"type": "ran", "turns": turns, "loss": loss.item() / batch, "peakMemory": peak}


def say(answer):
    print(json.dumps(answer), flush=True)


def main():
    task = json.loads(sys.argv[1])
    batch = task["workload"]["batch"]
    step = build(task)
    startup = time.time() * 1000 - task["startedAt"]
    begin = time.perf_counter()
    loss = step().item() / batch
    first = (time.perf_counter() - begin) * 1000
    say({"type": "ready", "library": f"PyTorch {torch.__version__}", "startup": startup, "firstStep": first, "loss": loss})
    for line in sys.stdin:
        question = json.loads(line)
        if question["type"] == "exit":
            break
        if question["type"] == "run":
            say(run(step, batch, question["seconds"], "cuda" in task["configuration"]))
        else:
            say({"type": "failed", "message": f"cannot {question['type']}"})


if __name__ == "__main__":
    if sys.argv[1:] == ["--version"]:
        print(torch.__version__)
        sys.exit()
    if sys.argv[1:] == ["--cuda"]:
        print(torch.__version__, torch.cuda.get_device_name())
        sys.exit()
    try:
        main()
    except Exception as error:  # whatever it is, the harness lists it
        say({"type": "failed", "message": f"{type(error).__name__}: {error}".splitlines()[0]})
        os._exit(1)
