"""Capitals: "Q: What is the capital of Poland? A: Warsaw. Q: What is the capital of France? A:" → " Paris".

The task of Merullo, Eickhoff and Pavlick 2024 (Language models implement simple word2vec-style vector arithmetic, arXiv
2305.16130), with one example in front of the question. The corrupted prompt asks for another country, whose capital is
the distractor.
"""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Final

from pydantic import Field
from typing_extensions import override

from ioi_lab.errors import LabError
from ioi_lab.tasks.label_columns import label_places
from ioi_lab.tasks.prompts import PromptPair, PromptPairs, Task
from ioi_lab.tasks.tokens import Tokens

CAPITALS: Final = {
    "France": "Paris", "Germany": "Berlin", "Italy": "Rome", "Spain": "Madrid", "England": "London",
    "Ireland": "Dublin", "Austria": "Vienna", "Russia": "Moscow", "Greece": "Athens", "Portugal": "Lisbon",
    "Sweden": "Stockholm",
    "Norway": "Oslo", "Finland": "Helsinki", "Denmark": "Copenhagen", "Hungary": "Budapest", "Belgium": "Brussels",
    "Egypt": "Cairo", "Iraq": "Baghdad", "Iran": "Tehran", "Turkey": "Ankara", "Syria": "Damascus", "Lebanon": "Beirut",
    "Japan": "Tokyo", "China": "Beijing", "Thailand": "Bangkok", "Indonesia": "Jakarta", "Vietnam": "Hanoi",
    "Canada": "Ottawa", "Cuba": "Havana", "Peru": "Lima", "Venezuela": "Caracas", "Kenya": "Nairobi",
    "Afghanistan": "Kabul", "Ukraine": "Kiev", "Serbia": "Belgrade", "Romania": "Bucharest", "Scotland": "Edinburgh",
    "Qatar": "Doha", "Jordan": "Amman", "Libya": "Tripoli", "Bulgaria": "Sofia", "Croatia": "Zagreb",
    "Philippines": "Manila", "Taiwan": "Taipei", "Colombia": "Bogota", "Chile": "Santiago", "Nigeria": "Abuja",
}  # fmt: skip
MIN_COUNTRIES: Final = 6
"""The least number of countries whose capitals are single tokens."""

_TEXT: Final = "Q: What is the capital of Poland?\nA: Warsaw\nQ: What is the capital of {country}?\nA:"


class CountryCapitalTask(Task):
    """Questions for capitals from a seed, each after the same answered question."""

    name: str = "country_capital"
    n: int = Field(32, ge=1)
    """The number of prompts."""

    seed: int = Field(0, ge=0)

    @override
    def prompt_pairs(self, tokens: Tokens) -> PromptPairs:
        """Return questions for a country, with twins for another one of the same length in tokens.

        Labels: BOS (if prompts have it), COUNTRY and END. Raises a `LabError` if too few capitals are single tokens.
        """
        by_length = defaultdict(list)
        for country, capital in CAPITALS.items():
            if tokens.single(f" {capital}") is not None:
                by_length[len(tokens.encode(_TEXT.format(country=country)))].append(country)
        usable = [countries for countries in by_length.values() if len(countries) > 1]
        if (count := sum(map(len, usable))) < MIN_COUNTRIES:
            raise LabError(
                f"task=country_capital: this model's tokenizer has {count} of {len(CAPITALS)} capitals as single "
                f"tokens (in countries that are as long as another one), at least {MIN_COUNTRIES} are needed"
            )
        rng = random.Random(self.seed)
        drawn = [
            rng.sample(countries, 2) for countries in rng.choices(usable, weights=list(map(len, usable)), k=self.n)
        ]
        return PromptPairs([_pair(tokens, *each) for each in drawn])


def _pair(tokens: Tokens, country: str, other: str) -> PromptPair:
    clean, corrupted = (_TEXT.format(country=each) for each in (country, other))
    return PromptPair.build(
        tokens,
        clean,
        corrupted,
        f" {CAPITALS[country]}",
        f" {CAPITALS[other]}",
        lambda _: label_places(tokens, clean, {"COUNTRY": f"the capital of {country}"}),
    )
