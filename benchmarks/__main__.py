"""`python -m benchmarks`: time the engine next to its peers, on the same prompts in the same run."""

from __future__ import annotations

import argparse
import ctypes
import os
import platform
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.grids import GRIDS, plan
from benchmarks.models import MODELS, model_config, prompt_pairs
from benchmarks.peers import PEERS, Peer
from ioi_lab.engine.engine import Engine
from ioi_lab.models.loading import LabModel, load_model
from ioi_lab.stats.metrics import Array, Readout
from ioi_lab.tasks.prompts import PromptPairs


@dataclass(frozen=True)
class Timing:
    """One row of the table."""

    model: str
    grid: str
    readout: str
    edits: int
    seconds: float
    edits_per_second: float
    times_transformer_lens: float
    times_full_forward: float
    largest_difference: float
    peak_memory_gb: float
    share_of_matmul_peak: float


def main() -> None:
    """Parse the command line, run, print the table and write it to the output file, if one is named."""
    options = _options()
    torch.set_num_threads(options.threads)
    device = options.device
    peak = matmul_peak(device, getattr(torch, options.dtype))
    print(describe_machine(device, options), f"matrix multiplication peak: {peak / 1e9:.0f} GFLOP/s", sep="\n")
    timings = []
    with tempfile.TemporaryDirectory() as folder:
        for name in options.models:
            config = model_config(name, Path(folder), device, options.dtype)
            model = load_model(config)
            prompts = prompt_pairs(model.tokens, options.prompts)
            print(f"\n{name}: {len(prompts)} prompts × {prompts.longest} tokens, memory_gb={options.memory_gb}")
            print(f"{'grid':<28}{'readout':<12}{'edits':>6}{'s':>8}{'edits/s':>9}{'× TL':>7}{'× full':>8}"
                  f"{'max diff':>10}{'peak GB':>9}{'of peak':>9}", flush=True)  # fmt: skip
            for timing in time_model(model, prompts, options, peak):
                timings.append(timing)
                print(f"{timing.grid:<28}{timing.readout:<12}{timing.edits:>6}{timing.seconds:>8.1f}"
                      f"{timing.edits_per_second:>9.1f}{timing.times_transformer_lens:>7.1f}"
                      f"{timing.times_full_forward:>8.1f}{timing.largest_difference:>10.1e}"
                      f"{timing.peak_memory_gb:>9.2f}{timing.share_of_matmul_peak:>9.0%}", flush=True)  # fmt: skip
    if options.output:
        Path(options.output).write_text(markdown(timings))


def markdown(timings: Sequence[Timing]) -> str:
    """Return the table as in `benchmarks/README.md`."""
    lines = [
        "| model | grid | readout | edits | s | edits/s | × TransformerLens | × full forward | largest difference |"
        " peak GB | of matmul peak |",
        "|" + "---|" * 11,
    ]
    for t in timings:
        lines.append(
            f"| {t.model} | {t.grid} | `{t.readout}` | {t.edits:,} | {t.seconds:.1f} | {t.edits_per_second:.1f} | "
            f"{t.times_transformer_lens:.1f} | {t.times_full_forward:.1f} | {t.largest_difference:.0e} | "
            f"{t.peak_memory_gb:.2f} | {t.share_of_matmul_peak:.0%} |"
        )
    return "\n".join(lines) + "\n"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one model, every third edit, few peer edits: two minutes")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--grids", nargs="+", choices=GRIDS, default=list(GRIDS))
    parser.add_argument("--readouts", nargs="+", choices=("logit_diff", "full"), default=["logit_diff", "full"])
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--peer-edits", type=int, default=24, help="edits that each peer is timed on, evenly spread")
    parser.add_argument("--memory-gb", type=float, default=2.0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    parser.add_argument("--output", help="also write the table to this Markdown file")
    options = parser.parse_args()
    if options.peer_edits < 2:
        parser.error("--peer-edits: at least 2, one before and one after the engine")
    if options.quick:
        options.models, options.readouts, options.peer_edits = options.models[:1], ["logit_diff"], 8
    return options


def time_model(model: LabModel, prompts: PromptPairs, options: argparse.Namespace, peak: float) -> Iterator[Timing]:
    """Time every grid with every readout on one model."""
    setup = {
        "folder": model.folder,
        "device": options.device,
        "dtype": options.dtype,
        "shape": model.shape,
        "threads": options.threads,
        "prompts": {
            "clean": [pair.clean_tokens for pair in prompts],
            "corrupted": [pair.corrupted_tokens for pair in prompts],
            "answer": [pair.answer_id for pair in prompts],
            "distractor": [pair.distractor_id for pair in prompts],
        },
    }
    peers = {name: Peer(name, **setup) for name in PEERS}
    for grid in options.grids:
        base, edit_sets = plan(grid, model.shape, prompts.longest)
        step = 3 if options.quick else 1
        edit_sets = edit_sets[::step]
        sample = np.linspace(0, len(edit_sets) - 1, min(options.peer_edits, len(edit_sets))).round().astype(int)
        for readout in options.readouts:
            engine = Engine(model, prompts, options.memory_gb, readout)
            engine.run(edit_sets[:1], base, progress=False)  # warm up, and try the parts of passes
            # Peers before and after the engine, so that a machine that changes its pace does not favour either.
            before = {name: peer.time(grid, (step * sample[::2]).tolist()) for name, peer in peers.items()}
            work = partial(engine.run, edit_sets, base, progress=False)
            seconds, logit_diff, memory = run_engine(work, options.device)
            after = {name: peer.time(grid, (step * sample[1::2]).tolist()) for name, peer in peers.items()}
            cost = {name: (before[name][0] + after[name][0]) / 2 for name in peers}
            lens = np.array([*before["TransformerLens"][1], *after["TransformerLens"][1]])
            ours = logit_diff[[*sample[::2], *sample[1::2]]]
            yield Timing(
                model=model.shape.name,
                grid=grid,
                readout=readout,
                edits=len(edit_sets),
                seconds=seconds,
                edits_per_second=len(edit_sets) / seconds,
                times_transformer_lens=cost["TransformerLens"] * len(edit_sets) / seconds,
                times_full_forward=cost["full forward"] * len(edit_sets) / seconds,
                largest_difference=float(np.abs(ours - lens).max()),
                peak_memory_gb=memory / 1e9,
                share_of_matmul_peak=count_flops(work) / seconds / peak,
            )
    for peer in peers.values():
        peer.stop()


def run_engine(work: Callable[[], Readout], device: str) -> tuple[float, Array, float]:
    """Return seconds, logit differences `[edit, prompt]`, and the bytes at the peak beyond those in use before."""
    with watched_memory(device) as peak:
        start = time.perf_counter()
        readout = work()
        seconds = time.perf_counter() - start
    return seconds, readout.logit_diff, peak()


@contextmanager
def watched_memory(device: str) -> Iterator[Callable[[], float]]:
    """Yield a function that returns the peak of memory in use: of the card, or of the process, sampled."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        yield lambda: torch.cuda.max_memory_allocated() - before
        return
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)  # else memory that was freed before would hide what is used now
    process = psutil.Process()
    seen, done = [process.memory_info().rss], threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            seen.append(process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield lambda: max(seen) - seen[0]
    finally:
        done.set()
        watcher.join()


def count_flops(work: Callable[[], object]) -> float:
    """Return the floating-point operations of all matrix multiplications."""
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


def matmul_peak(device: str, dtype: torch.dtype) -> float:
    """Return the best rate of a large matrix multiplication, in operations per second."""
    size = 8192 if device.startswith("cuda") else 2048  # a card needs more to be busy
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))

    def once() -> float:
        start = time.perf_counter()
        a @ b
        if a.is_cuda:
            torch.cuda.synchronize()
        return time.perf_counter() - start

    once()
    return 2 * size**3 / min(once() for _ in range(20))


def describe_machine(device: str, options: argparse.Namespace) -> str:
    """Return a line with processor or card, threads and versions."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        name = lines[0].split(":")[1].strip() if lines else name
    card = f", {torch.cuda.get_device_name()}" if device.startswith("cuda") else ""
    return (
        f"{name}, {os.cpu_count()} cores, {options.threads} threads{card}, {options.dtype}, torch {torch.__version__}"
    )


if __name__ == "__main__":
    main()
