"""Many measurements at once: what all of them ask of an engine is answered in one pass.

Each measurement runs in a thread of its own, one at a time: it goes on until it needs edits to be run, and waits. When
all of them wait, the edits that act on the same prompts are pooled (and those that several ask for are run once), and
each gets its part of the readout.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ioi_lab.edits import EditSet, FromRun, Run
from ioi_lab.metrics import Readout

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine

ResultT = TypeVar("ResultT")

_seat: ContextVar[Seat[Any] | None] = ContextVar("seat", default=None)


@dataclass(frozen=True)
class Question:
    """Edits that one measurement wants to be run."""

    engine: Engine
    edit_sets: Sequence[EditSet]
    base: Run


@dataclass(frozen=True)
class Outcome(Generic[ResultT]):
    """What became of one measurement."""

    result: ResultT | None = None
    error: BaseException | None = None


class _Abandoned(BaseException):
    """Ends the thread of a measurement that nobody waits for any more."""


class Seat(Generic[ResultT]):
    """One measurement among others: a thread that runs only while `go_on` waits for it."""

    def __init__(self, measurement: Callable[[], ResultT]) -> None:
        self._measurement = measurement
        self._answers: SimpleQueue[Readout | BaseException] = SimpleQueue()
        self._questions: SimpleQueue[Question | Outcome[ResultT]] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._is_abandoned = False

    def start(self) -> Question | Outcome[ResultT]:
        """Run up to the first question, or to the end."""
        self._thread.start()
        return self._questions.get()

    def go_on(self, answer: Readout | BaseException) -> Question | Outcome[ResultT]:
        """Run up to the next question, or to the end; an answer that is an error is raised where it was asked."""
        self._answers.put(answer)
        return self._questions.get()

    def abandon(self) -> None:
        """End the measurement where it needs edits, and wait for that.

        A thread that still runs when Python exits would take the process down with it.
        """
        self._is_abandoned = True
        if self._thread.is_alive():
            self._answers.put(_Abandoned())
            self._thread.join()

    def ask(self, question: Question) -> Readout:
        """Wait for an answer: called by the measurement itself."""
        if self._is_abandoned:
            raise _Abandoned
        self._questions.put(question)
        answer = self._answers.get()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _run(self) -> None:
        _seat.set(self)
        try:
            self._questions.put(Outcome(result=self._measurement()))
        except BaseException as error:
            self._questions.put(Outcome(error=error))


def current_seat() -> Seat[Any] | None:
    """That of the measurement which runs in this thread; None where it runs alone."""
    return _seat.get()


def together(measurements: Sequence[Callable[[], ResultT]]) -> list[Outcome[ResultT]]:
    """Run all of them and pool their edits; one that fails does not stop the others."""
    seats = [Seat(measurement) for measurement in measurements]
    outcomes: dict[int, Outcome[ResultT]] = {}
    questions: dict[int, Question] = {}

    def take(index: int, event: Question | Outcome[ResultT]) -> None:
        if isinstance(event, Outcome):
            outcomes[index] = event
        else:
            questions[index] = event

    try:
        for index, seat in enumerate(seats):
            take(index, seat.start())
        while questions:
            for index, answer in _answers(questions).items():
                del questions[index]
                take(index, seats[index].go_on(answer))
    finally:
        for seat in seats:  # after Ctrl-C; else all of them have ended
            seat.abandon()
    return [outcomes[index] for index in range(len(seats))]


def _answers(questions: Mapping[int, Question]) -> dict[int, Readout | BaseException]:
    """One pass for all questions about the same run of the same prompts."""
    groups: dict[tuple[Engine, Run], dict[int, Question]] = defaultdict(dict)
    for index, question in questions.items():
        groups[question.engine, question.base][index] = question
    answers: dict[int, Readout | BaseException] = {}
    for group in groups.values():
        try:
            answers |= _pooled(group)
        except Exception as error:
            if len(group) == 1:
                answers |= dict.fromkeys(group, error)
            else:  # each alone, so that only those fail that have to
                for index, question in group.items():
                    answers |= _answers({index: question})
    return answers


def _pooled(questions: Mapping[int, Question]) -> dict[int, Readout | BaseException]:
    first = next(iter(questions.values()))
    unique: dict[Hashable, int] = {}
    plan: list[EditSet] = []
    rows: dict[int, list[int]] = {}
    for index, question in questions.items():
        rows[index] = []
        for edit_set in question.edit_sets:
            key = _key(edit_set)
            if key not in unique:
                unique[key] = len(plan)
                plan.append(edit_set)
            rows[index].append(unique[key])
    readout = first.engine.run(plan, first.base)
    return {index: readout.select(chosen) for index, chosen in rows.items()}


def _key(edit_set: EditSet) -> Hashable:
    """Equal for edit sets that do the same; tensors are the same only if they are one."""
    return tuple(
        (edit.site, edit.operation, edit.value if isinstance(edit.value, FromRun) else id(edit.value), edit.scale)
        for edit in edit_set
    )
