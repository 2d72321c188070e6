"""Measurements that share passes: the edit sets that all of them ask for are evaluated together.

Each measurement runs in a thread of its own, one at a time: it goes on until it needs edit sets to be evaluated, and
waits. When all of them wait, the edit sets that act on the same prompts are evaluated in one call (and those that
several measurements ask for once), and each measurement gets its part of the readout.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Generic, TypeVar

from ioi_lab.engine.edits import EditSet, FromPass, Pass
from ioi_lab.engine.engine import Engine, Executor
from ioi_lab.stats.metrics import Readout

ResultT = TypeVar("ResultT")


@dataclass(frozen=True)
class PassRequest:
    """Edit sets that one measurement wants to be evaluated."""

    engine: Engine
    edit_sets: Sequence[EditSet]
    base: Pass


@dataclass(frozen=True)
class Finished(Generic[ResultT]):
    """The end of one measurement: its result, or its error."""

    result: ResultT | None = None
    error: BaseException | None = None


class _Abandoned(BaseException):
    """Ends the thread of a measurement whose result is no longer wanted."""


class MeasurementThread(Generic[ResultT]):
    """One measurement among others: a thread that runs only while `start` or `resume` waits for it."""

    def __init__(self, measurement: Callable[[Executor], ResultT]) -> None:
        self._measurement = measurement
        self._answers: SimpleQueue[Readout | BaseException] = SimpleQueue()
        self._events: SimpleQueue[PassRequest | Finished[ResultT]] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._is_abandoned = False

    def start(self) -> PassRequest | Finished[ResultT]:
        """Run up to the first request, or to the end."""
        self._thread.start()
        return self._events.get()

    def resume(self, answer: Readout | BaseException) -> PassRequest | Finished[ResultT]:
        """Run up to the next request, or to the end; an answer that is an error is raised at the request."""
        self._answers.put(answer)
        return self._events.get()

    def abandon(self) -> None:
        """End the measurement at its next request, and wait for that.

        A thread that still runs when Python exits would crash the process.
        """
        self._is_abandoned = True
        if self._thread.is_alive():
            self._answers.put(_Abandoned())
            self._thread.join()

    def _execute(self, engine: Engine, edit_sets: Sequence[EditSet], base: Pass, progress: bool) -> Readout:
        """The executor that the measurement gets: request the edit sets and wait for the answer."""
        if self._is_abandoned:
            raise _Abandoned
        self._events.put(PassRequest(engine, edit_sets, base))
        answer = self._answers.get()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _run(self) -> None:
        try:
            self._events.put(Finished(result=self._measurement(self._execute)))
        except BaseException as error:
            self._events.put(Finished(error=error))


def run_sharing_passes(measurements: Sequence[Callable[[Executor], ResultT]]) -> list[Finished[ResultT]]:
    """Run measurements, each given its executor, and evaluate their edit sets together.

    A measurement that fails does not stop the others.
    """
    threads = [MeasurementThread(measurement) for measurement in measurements]
    finished: dict[int, Finished[ResultT]] = {}
    requests: dict[int, PassRequest] = {}

    def take(index: int, event: PassRequest | Finished[ResultT]) -> None:
        if isinstance(event, Finished):
            finished[index] = event
        else:
            requests[index] = event

    try:
        for index, thread in enumerate(threads):
            take(index, thread.start())
        while requests:
            for index, answer in _answers(requests).items():
                del requests[index]
                take(index, threads[index].resume(answer))
    finally:
        for thread in threads:  # after Ctrl-C; else all of them have ended
            thread.abandon()
    return [finished[index] for index in range(len(threads))]


def _answers(requests: Mapping[int, PassRequest]) -> dict[int, Readout | BaseException]:
    """Answer all requests, those about the same pass of the same prompts together."""
    groups: dict[tuple[Hashable, Pass], dict[int, PassRequest]] = defaultdict(dict)
    for index, request in requests.items():
        groups[request.engine.batch_key, request.base][index] = request
    answers: dict[int, Readout | BaseException] = {}
    for group in groups.values():
        try:
            answers |= _evaluated_together(group)
        except Exception as error:
            if len(group) == 1:
                answers |= dict.fromkeys(group, error)
            else:  # one by one, so that only those fail that have to
                for index, request in group.items():
                    answers |= _answers({index: request})
    return answers


def _evaluated_together(requests: Mapping[int, PassRequest]) -> dict[int, Readout | BaseException]:
    first = next(iter(requests.values()))
    unique: dict[Hashable, int] = {}
    edit_sets: list[EditSet] = []
    rows: dict[int, list[int]] = {}
    for index, request in requests.items():
        rows[index] = []
        for edit_set in request.edit_sets:
            key = _key(edit_set)
            if key not in unique:
                unique[key] = len(edit_sets)
                edit_sets.append(edit_set)
            rows[index].append(unique[key])
    readout = first.engine.evaluate(edit_sets, first.base)
    return {index: readout.select(chosen) for index, chosen in rows.items()}


def _key(edit_set: EditSet) -> Hashable:
    """Equal for edit sets that do the same; tensors are the same only if they are one object."""
    return tuple(
        (edit.site, edit.operation, edit.value if isinstance(edit.value, FromPass) else id(edit.value), edit.scale)
        for edit in edit_set
    )
