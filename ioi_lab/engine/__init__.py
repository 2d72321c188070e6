"""The one forward-pass machine: it evaluates any list of edits on any model, exactly and in batches."""

from ioi_lab.engine.engine import Engine
from ioi_lab.engine.memory import MemoryGb
from ioi_lab.engine.pooling import ReadoutKind

__all__ = ["Engine", "MemoryGb", "ReadoutKind"]
