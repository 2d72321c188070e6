"""The proof that parts of passes give a model's own logits: tried on each model before the engine relies on them."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from torch import Tensor

from ioi_lab.engine.batching import SHORTCUTS, Shortcut, part_of, works
from ioi_lab.engine.blocks import captures_are_exact, check_what_is_written, stream_is_sum, telling_layers
from ioi_lab.engine.buckets import Bucket
from ioi_lab.engine.edits import EditSet, Site
from ioi_lab.engine.hooks import edit_hooks
from ioi_lab.engine.passes import Passes
from ioi_lab.engine.shown import is_only_shown, strong_edit
from ioi_lab.errors import LabError, folded
from ioi_lab.models.loading import LabModel
from ioi_lab.models.shape import COMPONENTS, Component

log = logging.getLogger(__name__)

_AGREEMENT: Final = 1e-4
"""The largest difference, in logits, between a part of a pass and the whole one in float32."""

_ROUNDING: Final = 4
"""The largest difference in low precision, in rounding errors of the largest logit."""

_FAINT: Final = 0.01
"""An edit whose effect is below this share of what counts as agreement has none."""

_MAX_PROMPTS: Final = 4
"""The number of prompts that are tried at a component at which the usual edits change too little."""


class ShortcutProofs:
    """The proofs of the engine's shortcuts on one model: what parts of passes may leave out for each component."""

    def __init__(self) -> None:
        self.proved: dict[tuple[Component, bool], Shortcut | None] = {}
        """The largest exact shortcut by component, and by whether answer and distractor alone are unembedded; None if
        there is none."""

        self.proved_captures: dict[Component, bool] = {}
        """By captured component: whether passes that end early show it as whole passes do."""

        self._reported: set[Component] = set()
        self._sum: bool | None = None

    def shortcut(self, passes: Passes, bucket: Bucket, components: Iterable[Component]) -> Shortcut | None:
        """Return the largest shortcut that is exact for edits of all `components`; each is tried once.

        `bucket` holds one prompt to try them on; others of its prompts are tried if this one shows too little. Raises a
        `LabError` for a component that TransformerLens only shows.
        """
        shape = passes.model.shape
        if len(shape.layers("resid_pre")) < shape.n_layers:  # parts start from it
            return None
        tried: set[Component] = {"resid_pre", *components}
        for component in sorted(tried, key=COMPONENTS.index):
            key = component, passes.pair_only
            if key not in self.proved:
                self.proved[key] = self._largest(passes, bucket, component)
        found = [self.proved[component, passes.pair_only] for component in tried]
        return max((each for each in found if each), key=SHORTCUTS.index) if all(found) else None

    def _largest(self, passes: Passes, bucket: Bucket, component: Component) -> Shortcut | None:
        """Return the largest shortcut that is exact for edits of one component, and log a smaller one than usual."""
        for shortcut in SHORTCUTS:
            trial = _Trial(passes, bucket, component, shortcut)
            if trial.is_exact():
                if shortcut != SHORTCUTS[0]:
                    log.info("engine: no more than %s left out for %s on %s", shortcut, component, trial.name)
                return shortcut
            if trial.proves_nothing:
                break
        if component not in self._reported:
            log.warning("engine: %s", trial.warning)
            self._reported.add(component)
        return None

    def stream_is_sum(self, passes: Passes, bucket: Bucket) -> bool:
        """Return whether the residual stream is a sum, on which frozen MLPs rely; it is tried once."""
        if self._sum is None:
            self._sum = stream_is_sum(passes, bucket)
        return self._sum

    def hold_for_captures(self, passes: Passes, bucket: Bucket, components: Iterable[Component]) -> bool:
        """Return whether passes that end early are exact for captures of all `components`; each is tried once."""
        captured = set(components)
        for component in sorted(captured - self.proved_captures.keys(), key=COMPONENTS.index):
            self.proved_captures[component] = captures_are_exact(passes, bucket, component)
            if not self.proved_captures[component]:
                name = passes.model.shape.name
                log.warning("engine: whole passes to capture %s, as parts are not proved on %s", component, name)
        return all(self.proved_captures[component] for component in captured)


@lru_cache(maxsize=2)  # like the models themselves
def proofs_of(model: LabModel) -> ShortcutProofs:
    """Return the proofs of a loaded model, which all engines on it share."""
    return ShortcutProofs()


class _Trial:
    """Whole passes compared with parts of them under strong edits of one component.

    A network in which few heads do anything may not react to an edit early, in the middle or late in the model: then
    every layer is tried, at several positions of several prompts.
    """

    def __init__(self, passes: Passes, bucket: Bucket, component: Component, shortcut: Shortcut) -> None:
        self._passes = passes
        self._bucket = bucket
        self._component = component
        self._shortcut = shortcut
        self._shape = passes.model.shape
        self.name = self._shape.name
        self._agree = True
        """Whether parts have agreed with whole passes so far."""

        self._strongest = 0.0
        """The largest change of a logit, as a multiple of what counts as agreement."""

        self.warning = f"whole passes for {component}, as parts are not proved on {self.name}"

    @property
    def proves_nothing(self) -> bool:
        """Whether the edits that were tried change too little for agreement to mean something."""
        return self._strongest <= 1

    def is_exact(self) -> bool:
        """Return whether all agree, and the edits change enough for that to mean something.

        Raises a `LabError` if they change nothing because TransformerLens only shows the component.
        """
        check_what_is_written(self._passes, self._bucket, self._component)
        self._try(self._bucket, self._usual_places())
        if not self.proves_nothing:
            return self._agree
        prompts, places = self._others()
        for bucket in prompts:
            self._try(bucket, places[bucket])
            if not self.proves_nothing:
                return self._agree
        if self._strongest < _FAINT:  # whether or not parts agree
            self._check_not_only_shown(prompts, places)
        return False  # agreement proves nothing

    def _usual_places(self) -> list[tuple[int, int]]:
        """Return layers and positions at which edits need every kind of part, in every kind of block."""
        layers = telling_layers(self._passes, self._component)
        middle, end = self._bucket.length // 2, self._bucket.length - 1
        return [*((layer, middle) for layer in layers), (layers[-1], end), (layers[0], 0)]

    def _others(self) -> tuple[list[Bucket], dict[Bucket, list[tuple[int, int]]]]:
        """Return some of the prompts, one per bucket, and the layers and positions that are tried on each."""
        rows = [row for row in range(len(self._bucket.prompts)) if row not in self._bucket.rows][: _MAX_PROMPTS - 1]
        prompts = [self._bucket, *(Bucket(self._bucket.prompts, [row], self._bucket.device) for row in rows)]
        places = {}
        for bucket in prompts:
            labelled = self._bucket.prompts[bucket.rows[0]].labels.values()
            positions = sorted({*labelled, bucket.length // 2, bucket.length - 1})
            layers = self._shape.layers(self._component)
            places[bucket] = [(layer, position) for layer in layers for position in positions]
        return prompts, places

    def _try(self, bucket: Bucket, places: Iterable[tuple[int, int]]) -> None:
        """Compare parts of passes with whole ones under edits of some layers and positions of a prompt."""
        passes, places = self._passes, list(places)
        read = self._read_at(layer for layer, _ in places)
        unedited = passes.selected(passes.recording(bucket, "clean", read).end_logits[None], bucket)
        if not unedited.isfinite().all():  # nothing can be proved; the measurement itself will report it
            self._agree, self._strongest = False, math.inf
            return
        for layer, position in places:
            edit_set = [strong_edit(passes, bucket, Site(self._component, layer, None, position))]
            hooks = edit_hooks([edit_set], bucket, {})
            expected = passes.selected(passes.forward.whole(bucket, "clean", hooks), bucket)
            tolerance = max(_AGREEMENT, float(_ROUNDING * passes.model.rounding * expected.abs().max()))
            self._strongest = max(self._strongest, float((expected - unedited).abs().max()) / tolerance)
            if self._agree:
                got = self._of_part(bucket, edit_set, unedited)
                self._agree = got is not None and bool((got - expected).abs().max() <= tolerance)

    def _read_at(self, layers: Iterable[int]) -> set[Site]:
        """Return the sites that edits at some layers, and the parts that they need, read: recorded in one pass."""
        names: set[Component] = {"resid_pre", "z", "attn_out", "mlp_out", self._component}
        having = {name: self._shape.layers(name) for name in names}
        return {Site(name, layer) for layer in layers for name in names if layer in having[name]}

    def _of_part(self, bucket: Bucket, edit_set: EditSet, unedited: Tensor) -> Tensor | None:
        """Return the logits of a part of a pass; None if the architecture resists, in any way."""
        todo = works(bucket, [edit_set], "clean", self._shape, self._shortcut)
        if not todo:
            return unedited
        try:
            part = part_of(todo, self._shape, self._shortcut)
            base, _ = self._passes.base_pass(bucket, todo, "clean", [part])
            return self._passes.run_batch(todo * 2, part, base)[0]
        except LabError:
            raise
        except Exception as error:
            log.info("engine: %s at layer %d: %s", self._component, edit_set[0].site.layer, folded(error))
            return None

    def _check_not_only_shown(self, prompts: list[Bucket], places: dict[Bucket, list[tuple[int, int]]]) -> None:
        """Set the warning to what was tried; raises a `LabError` if TransformerLens only shows the component."""
        name, written = self.name, "zeros" if self._component == "pattern" else "noise"
        alike = [bucket.rows[0] for bucket in prompts if bucket.length == self._bucket.length]
        if is_only_shown(self._passes, Bucket(self._bucket.prompts, alike, self._bucket.device), self._component):
            raise LabError(
                f"component: got {self._component!r}, but writing there changes nothing in {name}: "
                "TransformerLens only shows it"
            )
        n_layers = len(self._shape.layers(self._component))
        n_positions = len(places[self._bucket]) // n_layers
        self.warning = (
            f"writing {written} into {self._component} changes no logit that is read of {name} (tried in "
            f"{n_layers} layers, at {n_positions} positions of {len(prompts)} prompts), so parts of passes "
            "cannot be proved and whole ones are used"
        )
