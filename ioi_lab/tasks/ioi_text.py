"""The words of the indirect-object-identification (IOI) task: sentences, names, places, objects.

A sentence template has five slots. `{A}` and `{B}` are the two names as they are first mentioned, `{S}` is the
subject mentioned again (so it equals `{A}` or `{B}`), `{place}` and `{object}` fill the scene. Every template starts
with a word that is not a name, so that each name follows a space and is one token in GPT-2-like vocabularies.
"""

from __future__ import annotations

from typing import Final

TEMPLATES: Final[tuple[str, ...]] = (
    "When {A} and {B} went to the {place}, {S} gave a {object} to",
    "After {A} and {B} met at the {place}, {S} handed a {object} to",
    "While {A} and {B} were waiting at the {place}, {S} offered a {object} to",
    "Then {A} and {B} walked to the {place}, and {S} brought a {object} to",
    "Yesterday {A} and {B} had lunch near the {place}, where {S} passed a {object} to",
    "Because {A} and {B} got lost on the way to the {place}, {S} lent a {object} to",
    "Once {A} and {B} had arrived at the {place}, {S} showed a {object} to",
    "Today {A} and {B} talked for hours in the {place}. Later, {S} sent a {object} to",
    "Before {A} and {B} left the {place}, {S} sold a {object} to",
    "Last week {A} and {B} worked together at the {place}, and {S} promised a {object} to",
    "Since {A} and {B} were both free, they drove to the {place}, and {S} threw a {object} to",
    "In the morning {A} and {B} cleaned the {place}. In the evening {S} returned a {object} to",
    "As {A} and {B} were leaving the {place}, {S} decided to give a {object} to",
    "On Sunday {A} and {B} visited the {place}, and {S} bought a {object} for",
    "Although {A} and {B} argued all day at the {place}, {S} kept a {object} for",
    "Soon {A} and {B} found an old {object} in the {place}, and {S} gave the {object} to",
)

NAMES: Final[tuple[str, ...]] = tuple(
    """
    Aaron Adam Alan Albert Alex Alice Alicia Allen Amanda Amber Amy Andrea Andrew Angela Ann Anna Anne Anthony
    Arthur Barbara Ben Benjamin Bill Bob Bradley Brandon Brian Bruce Carl Carol Catherine Charles Charlie Chris
    Christina Christine Christopher Claire Craig Daniel David Dean Dennis Diana Donald Dorothy Douglas Edward
    Elizabeth Emily Emma Eric Eva Frank Fred Gary George Grace Graham Greg Hannah Harry Heather Helen Henry Ian Jack
    Jacob James Jamie Jane Jason Jean Jeff Jennifer Jeremy Jerry Jessica Jim Joan Joe John Jonathan Jordan Joseph
    Joshua Julia Julie Justin Karen Kate Keith Kelly Ken Kenneth Kevin Kyle Larry Laura Lauren Lee Lewis Linda Lisa
    Louis Louise Lucy Luke Maria Mark Martha Martin Mary Matthew Max Megan Michael Michelle Mike Nancy Nathan
    Nicholas Nick Nicole Oliver Oscar Pamela Patricia Patrick Paul Peter Philip Rachel Ralph Ray Rebecca Richard
    Robert Roger Ron Rose Roy Russell Ruth Ryan Sam Samantha Samuel Sandra Sara Sarah Scott Sean Simon Stephanie
    Stephen Steve Steven Susan Thomas Tim Timothy Tom Tony Tyler Victor Victoria Vincent Walter Wayne William
    """.split()
)

PLACES: Final[tuple[str, ...]] = tuple(
    """
    store park school library station market office garden restaurant museum hospital beach church hotel theater
    kitchen bridge river bank farm gym house bar zoo
    """.split()
)

OBJECTS: Final[tuple[str, ...]] = tuple(
    """
    drink book ball ring key letter map phone picture ticket box hat coat cup lamp card coin watch flower basket
    computer bottle necklace pen
    """.split()
)
