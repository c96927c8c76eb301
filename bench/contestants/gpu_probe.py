"""The limits of a GPU, measured with PyTorch's own libraries: one JSON object on stdout.

matmul: FLOP/s of an 8192 x 8192 x 8192 product on random data by precision; copy: bytes read and written per second of a
device-to-device copy of 1 GiB; node: seconds per kernel of a captured chain of 1000 dependent, tiny kernels.
"""

import json

import torch


def seconds(work, repeats):
    """Median over repeats, after a warm-up."""
    work()
    times = []
    for _ in range(repeats):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        work()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) / 1000)
    return sorted(times)[len(times) // 2]


def product(precision):
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    size = 8192 if precision != "float32" else 4096
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    a, b = (torch.randn(size, size, device="cuda", dtype=dtype) for _ in range(2))
    return 2 * size**3 / seconds(lambda: torch.mm(a, b), 10)


def copy():
    source = torch.randn(1 << 28, device="cuda")
    target = torch.empty_like(source)
    return 2 * source.nbytes / seconds(lambda: target.copy_(source), 10)


def node():
    chain, x = 1000, torch.zeros(1, device="cuda")
    graph = torch.cuda.CUDAGraph()
    x.add_(1)
    with torch.cuda.graph(graph):
        for _ in range(chain):
            x.add_(1)
    return seconds(graph.replay, 10) / chain


print(
    json.dumps(
        {
            "gpu": torch.cuda.get_device_name(),
            "torch": torch.__version__,
            "matmul": {precision: product(precision) for precision in ("float32", "tf32", "bfloat16")},
            "copy": copy(),
            "node": node(),
        }
    )
)
