from __future__ import annotations

from dataclasses import replace

from ioi_lab.interventions.circuit.result import ACDC


def test_only_curves_of_nested_circuits_are_curves(result):
    first = result.first
    assert first.is_nested
    assert not replace(first, method=ACDC).is_nested
    one = replace(first.found, asked=first.found.asked[:1], circuits=first.found.circuits[:1])
    assert not replace(first, found=one).is_nested


def test_the_circuit_is_the_one_of_the_chosen_size(result):
    for size in range(3):
        assert (replace(result, chosen=size).circuit == result.first.found.circuits[size]).all()
