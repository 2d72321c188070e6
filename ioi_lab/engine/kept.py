"""What engines on one model keep between runs."""

from __future__ import annotations

from ioi_lab.edits import Run
from ioi_lab.engine.buckets import Bucket
from ioi_lab.engine.forward import Recording

_Key = tuple[object, tuple[int, ...], Run]


class Kept:
    """The latest recordings of unedited runs, as many as fit `most_bytes`."""

    def __init__(self, most_bytes: float) -> None:
        self.most_bytes = most_bytes
        self._recordings: dict[_Key, Recording] = {}

    def find(self, bucket: Bucket, run: Run) -> Recording | None:
        """What is kept of a bucket's run."""
        return self._recordings.get(_key(bucket, run))

    def keep(self, bucket: Bucket, run: Run, recording: Recording) -> None:
        """Keep this instead of what is kept of the bucket's run, and drop the oldest that there is no room for."""
        key = _key(bucket, run)
        self._recordings.pop(key, None)
        self._recordings[key] = recording
        while self.bytes > self.most_bytes:
            del self._recordings[next(iter(self._recordings))]

    @property
    def bytes(self) -> int:
        """The memory that it takes."""
        return sum(recording.bytes for recording in self._recordings.values())


def _key(bucket: Bucket, run: Run) -> _Key:
    return bucket.prompts, tuple(bucket.rows), run
