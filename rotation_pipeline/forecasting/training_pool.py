"""Network fits side by side: one task is one encoder, one fit month and the months forecast from that fit.

Tasks share nothing and carry their own random numbers, so the numbers do not depend on how many processes ran them.
Processes are spawned, which is safe under threads and servers; a script that calls this with more than one worker needs
the usual ``if __name__ == "__main__"`` guard.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from rotation_pipeline.forecasting.daily_network import FittedDailyNetworks
from rotation_pipeline.forecasting.history import History
from rotation_pipeline.forecasting.layout import generators
from rotation_pipeline.forecasting.network import Encoder, FittedNetworks, NetworkForecast, Start, TrainedNetworks
from rotation_pipeline.forecasting.options import NetworkOptions
from rotation_pipeline.forecasting.panels import TrainingPanel, joined_sample

Task = TypeVar("Task")
Answer = TypeVar("Answer")
MIN_TASKS_PER_WORKER = 6
"""A process costs seconds to start (it imports torch), as much as a few fits; fewer tasks run in this process."""


class NetworkTrainingError(ValueError):
    """A network could not be trained; the message names the encoder and the month."""


class TrainingProcessError(RuntimeError):
    """A training process died without an answer."""


@dataclass(frozen=True)
class NetworkTask:
    """Fit ``encoder`` on ``history`` and forecast from the inputs that end each of ``inputs``."""

    encoder: Encoder
    history: History
    inputs: tuple[History, ...]
    lookback: int
    options: NetworkOptions
    daily: bool = False
    """The daily form, on the histories' sessions."""
    encoder_start: NDArray[np.float32] | None = None
    """Encoder trained on panels, seeds × parameters, that is held while the heads learn; None: all of it learns."""

    @property
    def expert(self) -> str:
        """Name of the expert it serves."""
        return f"network_{self.encoder}{'_daily' if self.daily else ''}"


def run_task(task: NetworkTask) -> list[NetworkForecast]:
    """Forecasts of one task, one for each of its inputs."""
    history = task.history
    when = (history.year, history.month)
    try:
        if task.daily:
            found = FittedDailyNetworks(task.encoder, history.sessions(), *when, task.options)
            return [found.predict(each.sessions()) for each in task.inputs]
        start = None if task.encoder_start is None else Start(torch.from_numpy(task.encoder_start), frozen=True)
        sizes = (task.lookback, task.options)
        fitted = FittedNetworks(task.encoder, history.styles, history.market, *when, *sizes, start)
        return [fitted.predict(each.styles, each.market) for each in task.inputs]
    except (ValueError, ArithmeticError) as error:
        raise NetworkTrainingError(f"{task.expert}, {history.year}-{history.month:02d}: {error}") from error


@dataclass(frozen=True)
class EncoderTask:
    """Train ``encoder`` on ``panels`` and ``history`` together."""

    encoder: Encoder
    history: History
    panels: tuple[TrainingPanel, ...]
    lookback: int
    options: NetworkOptions


PANEL_STREAM = 2
"""Random numbers of encoders trained on panels; the monthly form has stream 0, the daily one 1."""


def train_encoder(task: EncoderTask) -> NDArray[np.float32]:
    """Trained encoder, seeds × parameters."""
    when = (task.history.year, task.history.month)
    try:
        sample = joined_sample(task.panels, task.history, task.lookback, task.options)
        randoms = generators(task.encoder, *when, task.options, PANEL_STREAM)
        return TrainedNetworks(task.encoder, sample, task.lookback, task.options, randoms).encoder_parameters.numpy()
    except (ValueError, ArithmeticError) as error:
        raise NetworkTrainingError(f"encoder {task.encoder} on panels, {when[0]}-{when[1]:02d}: {error}") from error


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)  # the parent is gone and nobody will read an answer


def _start_worker() -> None:
    import torch

    torch.set_num_threads(1)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def run_tasks(
    tasks: Sequence[NetworkTask], workers: int, on_done: Callable[[], None] | None = None
) -> list[list[NetworkForecast]]:
    """Results in the order of ``tasks``. The first error ends the pool and is raised; so does an interrupt."""
    return _run_all(run_task, tasks, workers, on_done)


def run_encoder_tasks(tasks: Sequence[EncoderTask], workers: int) -> list[NDArray[np.float32]]:
    """The same for encoders on panels."""
    return _run_all(train_encoder, tasks, workers, None)


def _run_all(
    run: Callable[[Task], Answer], tasks: Sequence[Task], workers: int, on_done: Callable[[], None] | None
) -> list[Answer]:
    workers = min(workers, len(tasks) // MIN_TASKS_PER_WORKER)
    results: dict[int, Answer] = {}
    if workers <= 1:
        for number, task in enumerate(tasks):
            results[number] = run(task)
            if on_done is not None:
                on_done()
        return [results[number] for number in range(len(tasks))]
    others = set(multiprocessing.active_children())
    executor = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_start_worker)
    try:
        futures = {executor.submit(run, task): number for number, task in enumerate(tasks)}
        for future in as_completed(futures):
            results[futures[future]] = future.result()
            if on_done is not None:
                on_done()
    except BaseException as error:
        executor.shutdown(wait=False, cancel_futures=True)
        for child in set(multiprocessing.active_children()) - others:
            child.terminate()
            child.join()
        if isinstance(error, BrokenProcessPool):
            raise TrainingProcessError(
                "a training process died (out of memory, killed, or started from a script without an "
                "`if __name__ == '__main__'` guard); set the network option workers to 1 to train in this process"
            ) from error
        raise
    executor.shutdown()
    return [results[number] for number in range(len(tasks))]
