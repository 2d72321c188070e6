"""Logits of batches → the arrays of a readout; and where activations stop being finite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import numpy as np
from torch import Tensor

from ioi_lab.engine.buckets import Bucket
from ioi_lab.engine.edits import EditSet, Pass, Site
from ioi_lab.engine.hooks import Hook, edit_hooks
from ioi_lab.engine.passes import BatchResult, Passes, whole_work
from ioi_lab.errors import LabError
from ioi_lab.models.shape import COMPONENTS
from ioi_lab.stats.metrics import Array, Readout
from ioi_lab.tasks.prompts import PromptPairs


def read_into(readout: Readout, result: BatchResult) -> None:
    """Write the metrics of a batch's logits into their rows of `readout`."""
    where = np.ix_(result.indices, result.bucket.rows)
    logits = result.logits
    if result.references:
        targets, log_probs = result.bucket.targets, logits.log_softmax(dim=-1)
        p_answer, p_distractor = targets.read(log_probs).exp().unbind(-1)
        readout.write(where, p_answer=to_array(p_answer), p_distractor=to_array(p_distractor))
        for name, reference in result.references.items():
            kl = (reference.exp() * (reference - log_probs)).sum(dim=-1).clamp_min(0)
            readout.write(where, **{name: to_array(kl)})
        if readout.rank is not None:
            readout.write(where, rank=to_array(targets.rank(log_probs)))
        logits = targets.read(logits)
    answer, distractor = logits.unbind(-1)
    readout.write(
        where,
        answer_logit=to_array(answer),
        distractor_logit=to_array(distractor),
        logit_diff=to_array(answer - distractor),
    )


def to_array(values: Tensor) -> Array:
    """Return a tensor as a float64 array on the CPU."""
    return values.double().cpu().numpy()


def raise_first_bad_site(
    passes: Passes, prompts: PromptPairs, edit_sets: Sequence[EditSet], base: Pass, readout: Readout
) -> NoReturn:
    """Raise a `LabError` that names the first site whose activation is not finite.

    The first edit set and prompt with a bad readout are run once more to find it.
    """
    index, row = np.argwhere(readout.not_finite())[0].tolist()
    bucket = Bucket(prompts, [row], passes.model.device)
    edit_set, shape = edit_sets[index], passes.model.shape
    base_pass, _ = passes.base_pass(bucket, [whole_work(0, edit_set)], base, [])
    bad: list[Site] = []

    def watch(site: Site) -> Hook:
        def look(activation: Tensor, hook: object) -> None:
            if not activation.isfinite().all():
                bad.append(site)

        return site.hook, look

    sites = [Site(component, layer) for component in COMPONENTS for layer in shape.layers(component)]
    watchers = [watch(site) for site in sites]
    passes.forward.whole(bucket, base, [*edit_hooks([edit_set], bucket, base_pass.recorded), *watchers])
    where = f"first {bad[0].component} of layer {bad[0].layer}" if bad else "the logits"
    which = f"the {base} pass" if not edit_set else f"an edited {base} pass"
    raise LabError(
        f"model: activations that are not finite in {which} of {shape.name}: {where}, prompt {prompts[row].clean!r}"
    )
