"""Where maps between two models come from: a file, or a fit on a corpus."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ioi_lab.alignment.align import align
from ioi_lab.alignment.config import AlignmentConfig, PairOfLayers
from ioi_lab.alignment.corpora import Corpus
from ioi_lab.alignment.map_files import Maps, load_maps, no_directions
from ioi_lab.alignment.maps import MAP_METHODS, AffineMap
from ioi_lab.alignment.pairing import Pairing
from ioi_lab.alignment.reading import Reader
from ioi_lab.errors import LabError, called


@dataclass(frozen=True)
class MapSource:
    """The layers that are mapped, and where the maps come from: a file, or a fit on a corpus."""

    alignment: AlignmentConfig
    corpus: Corpus
    file: Path | None
    corpus_key: str = "intervention.corpus"
    """The config key of the corpus, for errors."""

    def between(self, layers: PairOfLayers) -> MapSource:
        """Return the same source for the maps between one layer of the source and one of the target."""
        chosen = {"source_layers": [layers[0]], "target_layers": [layers[1]]}
        return replace(self, alignment=self.alignment.model_copy(update=chosen))

    def maps(self, pairing: Pairing, seed: int) -> Maps[AffineMap]:
        """Read or fit the maps between the layers of a pairing; `seed` is that of the split of the corpus.

        Raises a `LabError` for a file without these maps, for maps that do not map directions, and like `align`.
        """
        wanted = pairing.component, pairing.layers, "intervention.alignment"
        if self.file is not None:
            in_file = load_maps(self.file, pairing.models, "intervention.maps").affine("intervention.maps")
            return in_file.of_layers(*wanted)
        if not MAP_METHODS[self.alignment.method].maps_directions:
            raise LabError(no_directions("intervention.alignment.method", repr(self.alignment.method)))
        with called("corpus", self.corpus_key), called("alignment", "intervention.alignment"):
            reader = Reader(pairing, self.corpus, self.alignment, seed)
            fitted = Maps.of(align(reader, pairing, self.alignment), self.alignment, self.corpus.title)
        return fitted.affine("intervention.alignment.method").of_layers(*wanted)
