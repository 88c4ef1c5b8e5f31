"""Training of all seeds of one fit: stacked networks against a plain loop over torch's own modules (nn.LSTM, nn.GRU,
nn.TransformerEncoder), in the monthly form and in the daily one (blocks of sessions, windows that train in turn).

Both start from the same parameters, see the same windows and make the same updates (dropout off); the ratio counts only
if the losses agree within 1e-5: all seeds over the first ten updates (the first in the daily form), and four of five seeds
over all of them. (A ReLU input within rounding of 0 can fork a path, later in the monthly form, sooner where more windows
meet more units.) Ours and the peer run in fresh processes, in random order within each round. The machine may be shared,
so the monthly verdict is by CPU seconds; wall seconds are shown. The goal is three times the loop, the gate 80 % of it.

The goal is one of two cores. In the daily form, where one fit keeps a core busy for seconds, it is measured as such: two
fits at once, as the walk-forward trains them in two processes, against the loop over both with torch's own threads, one or
two, whichever is faster; by the clock, so on a quiet machine. The CPU ratio of one fit is printed beside it.

    python benchmarks/bench_forecasting_network.py --rounds 5
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import time
from typing import Any

import numpy as np

GOAL = 3.0
SESSIONS_A_MONTH = 20
TOLERANCE = 1e-5


def simulated_history(months: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Style returns (months × 5) and market features (months × 7) without structure."""
    rng = np.random.default_rng(seed)
    return rng.normal(0.0, 0.035, (months, 5)), rng.normal(size=(months, 7))


def simulated_sessions(months: int) -> Any:
    """Daily style returns and index features of ``months`` months without structure."""
    from rotation_pipeline.forecasting.history import DailyHistory

    styles, market = simulated_history(months * SESSIONS_A_MONTH)
    return DailyHistory(styles, market, np.repeat(np.arange(months), SESSIONS_A_MONTH))


def starting_point(
    encoder: str, months: int, options: Any, lookback: int = 12, daily: bool = False
) -> tuple[Any, Any, Any]:
    """(sample, layout, initial parameters) with a last layer other than zero, so that every gradient flows at once."""
    import torch

    from rotation_pipeline.forecasting import network
    from rotation_pipeline.forecasting.daily_network import prepare_daily

    styles, market = simulated_history(months)
    if daily:
        sample = prepare_daily(simulated_sessions(months), options)
    else:
        sample = network.prepare(styles, market, lookback, options)
    layout = network.Layout(encoder, len(sample.months), styles.shape[1], lookback, options)
    initial = layout.initial(network.generators(encoder, 2020, 1, options))
    draw = torch.Generator().manual_seed(1)
    for name in ("last_w", "last_b"):
        layout.views(initial)[name].uniform_(-0.2, 0.2, generator=draw)
    return sample, layout, initial


def train_stacked(encoder: str, sample: Any, layout: Any, initial: Any, options: Any, lookback: int = 12) -> np.ndarray:
    """Training losses, updates × seeds."""
    from rotation_pipeline.forecasting import network

    with network.one_thread():
        return np.array(
            network.train(
                encoder, sample, lookback, options, layout, initial, network.generators(encoder, 2020, 1, options)
            ).losses
        )


def peer_encoder(encoder: str, inputs: int, lookback: int, options: Any) -> Any:
    """The encoder as one would write it with torch's modules: windows × lookback × inputs → windows × hidden."""
    import torch
    from torch import nn

    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            kind = nn.GRU if encoder == "gru" else nn.LSTM
            self.cells = kind(inputs, options.hidden, options.layers, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.cells(x)[0][:, -1]

        def load(self, p: dict[str, torch.Tensor]) -> None:
            for k in range(options.layers):
                if encoder == "gru" or k == 0:
                    w_ih, w_hh = p[f"w_ih_{k}"], p[f"w_hh_{k}"]
                else:
                    w_ih, w_hh = p[f"w_{k}"].chunk(2, 1)
                for name, value in (
                    ("weight_ih", w_ih),
                    ("weight_hh", w_hh),
                    ("bias_ih", p[f"b_ih_{k}"]),
                    ("bias_hh", p[f"b_hh_{k}"]),
                ):
                    getattr(self.cells, f"{name}_l{k}").data.copy_(value)

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Linear(inputs, options.hidden)
            self.position = nn.Parameter(torch.zeros(lookback, options.hidden))
            layer = nn.TransformerEncoderLayer(
                options.hidden, options.attention_heads, options.feed_forward, 0.0, batch_first=True, norm_first=True
            )
            self.encoder = nn.TransformerEncoder(
                layer, options.layers, nn.LayerNorm(options.hidden), enable_nested_tensor=False
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.encoder(self.embed(x) + self.position)[:, -1]

        def load(self, p: dict[str, torch.Tensor]) -> None:
            pairs = [(self.embed.weight, "embed_w"), (self.embed.bias, "embed_b"), (self.position, "position")]
            pairs += [(self.encoder.norm.weight, "norm_g"), (self.encoder.norm.bias, "norm_b")]
            for k, layer in enumerate(self.encoder.layers):
                pairs += [
                    (layer.norm1.weight, f"norm1_g_{k}"),
                    (layer.norm1.bias, f"norm1_b_{k}"),
                    (layer.norm2.weight, f"norm2_g_{k}"),
                    (layer.norm2.bias, f"norm2_b_{k}"),
                ]
                pairs += [(layer.self_attn.in_proj_weight, f"qkv_w_{k}"), (layer.self_attn.in_proj_bias, f"qkv_b_{k}")]
                pairs += [
                    (layer.self_attn.out_proj.weight, f"out_w_{k}"),
                    (layer.self_attn.out_proj.bias, f"out_b_{k}"),
                ]
                pairs += [
                    (layer.linear1.weight, f"up_w_{k}"),
                    (layer.linear1.bias, f"up_b_{k}"),
                    (layer.linear2.weight, f"down_w_{k}"),
                    (layer.linear2.bias, f"down_b_{k}"),
                ]
            for parameter, name in pairs:
                parameter.data.copy_(p[name])

    return Attention() if encoder == "transformer" else Recurrent()


def train_plain(encoder: str, sample: Any, layout: Any, initial: Any, options: Any, lookback: int = 12) -> np.ndarray:
    """The plain loop, one network after another: training losses, updates × seeds. No dropout, no early stopping, but the
    same validation forward pass every epoch."""
    import torch
    from torch import nn

    def windows_of(months: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(months)).t().unfold(0, lookback, 1).transpose(1, 2)

    blocks = [
        (windows_of(b.months), torch.from_numpy(np.ascontiguousarray(b.targets)).t()) for b in sample.blocks(lookback)
    ]
    target = torch.from_numpy(sample.targets).t()
    first = len(target) - sample.validation
    tail = windows_of(sample.months)[first : len(target)]
    views = layout.views(initial)
    styles, inner = views["last_w"].shape[1:]

    class Network(nn.Module):
        def __init__(self, seed: int) -> None:
            super().__init__()
            p = {name: view[seed] for name, view in views.items()}
            self.encoder = peer_encoder(encoder, len(sample.months), lookback, options)
            self.encoder.load(p)
            self.heads = nn.ModuleList(
                nn.Sequential(nn.Linear(options.hidden, inner), nn.ReLU(), nn.Linear(inner, 1)) for _ in range(styles)
            )
            for i, head in enumerate(self.heads):
                rows = slice(i * inner, (i + 1) * inner)
                head[0].weight.data.copy_(p["head_w"][rows])
                head[0].bias.data.copy_(p["head_b"][rows])
                head[2].weight.data.copy_(p["last_w"][i : i + 1])
                head[2].bias.data.copy_(p["last_b"][i : i + 1])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = self.encoder(x)
            return torch.cat([head(h) for head in self.heads], 1)

    huber = nn.HuberLoss(delta=options.huber_delta)
    losses = np.empty((options.epochs * len(blocks), len(initial)))
    for seed in range(len(initial)):
        model = Network(seed)
        optimizer = torch.optim.AdamW(model.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay)
        for epoch in range(options.epochs):
            model.train()
            for turn, (windows, wanted) in enumerate(blocks):
                optimizer.zero_grad()
                loss = huber(model(windows), wanted) * styles
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), options.clip)
                optimizer.step()
                losses[epoch * len(blocks) + turn, seed] = loss.item()
            model.eval()
            with torch.no_grad():
                huber(model(tail), target[first:]).item()
    return losses


def _worker(who: str, encoder: str, months: int, epochs: int, daily: bool, threads: int, fits: int) -> None:
    import torch

    from rotation_pipeline.forecasting.options import NetworkOptions

    torch.set_num_threads(threads)
    run = train_stacked if who == "stacked" else train_plain
    warm = NetworkOptions(epochs=2, patience=2, dropout=0.0)
    run(encoder, *starting_point(encoder, months, warm, daily=daily), warm)
    options = NetworkOptions(epochs=epochs, patience=epochs + 1, dropout=0.0)
    start = starting_point(encoder, months, options, daily=daily)
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(fits):
        losses = run(encoder, *start, options)
    print(
        json.dumps(
            {
                "cpu": time.process_time() - cpu,
                "wall": time.perf_counter() - wall,
                "began": wall,
                "ended": time.perf_counter(),
                "windows": sum(block.windows for block in start[0].blocks(12)),
                "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                "losses": losses.tolist(),
            }
        )
    )


def start(
    who: str, encoder: str, months: int, epochs: int, daily: bool, threads: int = 1, fits: int = 1
) -> subprocess.Popen[str]:
    """A fresh process that trains; a fifth of the epochs in the daily form."""
    command = [
        sys.executable, __file__, "--worker", who, "--encoder", encoder, "--months", str(months), "--threads", str(threads),
        "--epochs", str(max(1, epochs // 5) if daily else epochs), "--fits", str(fits), *(["--daily"] if daily else []),
    ]  # fmt: skip
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def answer_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What it measured; RuntimeError if it failed."""
    said, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"the benchmark's process ended with {process.returncode}; its error stands above")
    return json.loads(said.splitlines()[-1])


def measure_cores(encoder: str, months: int, epochs: int, rounds: int) -> bool:
    """Two daily fits on two cores, ours in two processes, the loop's with one or two threads; True if the gate is met."""
    import scoreboard

    walls: dict[str, list[float]] = {"ours": [], "1 thread": [], "2 threads": []}
    for turn in range(rounds):
        for who in random.Random(turn).sample(list(walls), 3):
            if who == "ours":
                pair = [start("stacked", encoder, months, epochs, True) for _ in range(2)]
                found = [answer_of(process) for process in pair]
                walls[who].append(max(one["ended"] for one in found) - min(one["began"] for one in found))
            else:
                process = start("plain", encoder, months, epochs, True, threads=int(who[0]), fits=2)
                walls[who].append(answer_of(process)["wall"])
    middle = {who: float(np.median(seconds)) for who, seconds in walls.items()}
    peer = min(("1 thread", "2 threads"), key=lambda who: middle[who])
    ratios = np.array(walls[peer]) / np.array(walls["ours"])
    low, ratio, high = np.quantile(ratios, [0.1, 0.5, 0.9])
    scoreboard.add(
        "networks, daily form, two fits on two cores", f"{ratio:.1f} × {encoder}, {months} months, loop with {peer}",
        f"≥ {GOAL:g}", scoreboard.verdict(float(ratio), GOAL),
    )  # fmt: skip
    passed = bool(ratio >= scoreboard.GATE * GOAL)
    print(
        f"{encoder:12s} daily, two fits on two cores  ratio (wall) {ratio:.2f} [{low:.2f}, {high:.2f}]  wall s ours "
        f"{middle['ours']:.2f}, loop {middle['1 thread']:.2f} (1 thread) {middle['2 threads']:.2f} (2 threads)  "
        f"{'ok' if passed else 'BELOW GATE'}"
    )
    return passed


def measure(encoder: str, months: int, epochs: int, rounds: int, daily: bool) -> bool:
    """Print the comparison of one encoder and size; True if losses are equal and the monthly form meets the gate."""
    import scoreboard

    found: dict[str, list[dict[str, Any]]] = {"stacked": [], "plain": []}
    order = random.Random(0)
    for _ in range(rounds):
        for who in order.sample(list(found), 2):
            found[who].append(answer_of(start(who, encoder, months, epochs, daily)))
    gaps = np.abs(np.array(found["stacked"][0]["losses"]) - np.array(found["plain"][0]["losses"]))
    forked = int((gaps.max(axis=0) > TOLERANCE).sum())
    early = gaps[: 1 if daily else 10]
    equal = bool(early.max() <= TOLERANCE) and forked <= gaps.shape[1] // 5
    ratios = np.array([b["cpu"] / a["cpu"] for a, b in zip(found["stacked"], found["plain"], strict=True)])
    low, middle, high = np.quantile(ratios, [0.1, 0.5, 0.9])
    cpu, memory, wall = (
        {w: float(np.median([r[k] for r in runs])) for w, runs in found.items()} for k in ("cpu", "memory", "wall")
    )
    passed = equal and (daily or middle >= scoreboard.GATE * GOAL)
    scoreboard.add(
        f"networks, {'daily' if daily else 'monthly'} form, CPU against an nn module loop",
        f"{middle:.1f} × {encoder}, {months} months" if equal else f"{encoder}, {months} months: losses differ",
        "–" if daily else f"≥ {GOAL:g}", "–" if daily and equal else scoreboard.verdict(middle, GOAL) if equal else "MISSED",
    )  # fmt: skip
    print(
        f"{encoder:12s} {'daily  ' if daily else 'monthly'} windows {found['plain'][0]['windows']:4d}  ratio (CPU) {middle:.2f} [{low:.2f}, {high:.2f}]  "
        f"CPU s stacked {cpu['stacked']:.2f} plain {cpu['plain']:.2f}  wall s {wall['stacked']:.2f} / {wall['plain']:.2f}  "
        f"MiB {memory['stacked']:.0f} / {memory['plain']:.0f}  largest loss gap in {len(early)} updates {early.max():.1e}, forked seeds {forked}  {'ok' if passed else 'BELOW GATE'}"
    )
    return passed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--months", type=int, default=0, help="length of history; 0: 48, 84 and 120")
    parser.add_argument("--encoder", choices=("lstm", "transformer", "gru"), default=None)
    parser.add_argument("--daily", action="store_true", help="the daily form only")
    parser.add_argument("--threads", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--fits", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--worker", choices=("stacked", "plain"), default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        torch_threads, fits = arguments.threads, arguments.fits
        _worker(
            arguments.worker,
            arguments.encoder,
            arguments.months,
            arguments.epochs,
            arguments.daily,
            torch_threads,
            fits,
        )
        return 0
    print("layout: warm, 10 seeds, 1 thread, float32, hidden 32, 2 layers, 12 steps × 13 inputs, 5 heads")
    encoders = [arguments.encoder] if arguments.encoder else ["lstm", "gru", "transformer"]
    sizes = [(False, months) for months in (48, 84, 120)] + [(True, 120)]
    if arguments.months or arguments.daily:
        sizes = [(arguments.daily, arguments.months or 120)]
    passed = [
        measure(encoder, months, arguments.epochs, arguments.rounds, daily)
        for encoder in encoders
        for daily, months in sizes
    ]
    if not arguments.months or arguments.daily:
        passed += [
            measure_cores(encoder, arguments.months or 120, arguments.epochs, arguments.rounds) for encoder in encoders
        ]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    raise SystemExit(main())
