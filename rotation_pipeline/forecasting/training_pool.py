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

from rotation_pipeline.forecasting.experts import History
from rotation_pipeline.forecasting.network import Encoder, FittedNetworks, NetworkForecast
from rotation_pipeline.forecasting.options import NetworkOptions

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


def run_task(task: NetworkTask) -> list[NetworkForecast]:
    """Forecasts of one task, one for each of its inputs."""
    history = task.history
    try:
        fitted = FittedNetworks(
            task.encoder, history.styles, history.market, history.year, history.month, task.lookback, task.options
        )
        return [fitted.predict(each.styles, each.market) for each in task.inputs]
    except (ValueError, ArithmeticError) as error:
        raise NetworkTrainingError(f"network_{task.encoder}, {history.year}-{history.month:02d}: {error}") from error


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
    workers = min(workers, len(tasks) // MIN_TASKS_PER_WORKER)
    results: list[list[NetworkForecast]] = [[] for _ in tasks]
    if workers <= 1:
        for number, task in enumerate(tasks):
            results[number] = run_task(task)
            if on_done is not None:
                on_done()
        return results
    others = set(multiprocessing.active_children())
    executor = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_start_worker)
    try:
        futures = {executor.submit(run_task, task): number for number, task in enumerate(tasks)}
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
    return results
