"""The recorded activations that engines on one model keep between passes."""

from __future__ import annotations

from ioi_lab.engine.buckets import Bucket
from ioi_lab.engine.edits import Pass
from ioi_lab.engine.forward import Recording

_Key = tuple[object, tuple[int, ...], Pass]


class RecordingCache:
    """The latest recordings of unedited passes, up to `max_bytes` in total."""

    def __init__(self, max_bytes: float) -> None:
        self.max_bytes = max_bytes
        self._recordings: dict[_Key, Recording] = {}

    def find(self, bucket: Bucket, which: Pass) -> Recording | None:
        """Return the recording of a bucket's clean or corrupted pass, or None."""
        return self._recordings.get(_key(bucket, which))

    def put(self, bucket: Bucket, which: Pass, recording: Recording) -> None:
        """Store a recording in place of an earlier one of the same pass, and drop the oldest beyond `max_bytes`."""
        key = _key(bucket, which)
        self._recordings.pop(key, None)
        self._recordings[key] = recording
        while self.bytes > self.max_bytes:
            del self._recordings[next(iter(self._recordings))]

    @property
    def bytes(self) -> int:
        """The memory that the recordings take."""
        return sum(recording.bytes for recording in self._recordings.values())


def _key(bucket: Bucket, which: Pass) -> _Key:
    return bucket.prompts, tuple(bucket.rows), which
