"""COOP_GPUS: which cards a text names, and what a wrong text is told."""

from __future__ import annotations

import pytest

from gpus.fleetspec import FleetSpecError, parse_fleet, source_of

GIB = 2**30


def test_a_fleet_is_its_cards_in_order():
    cards = parse_fleet("2xA100-80G,1xRTX4090-24G")

    assert [(card.name, card.memory // GIB) for card in cards] == [
        ("NVIDIA A100-SXM4-80GB", 80),
        ("NVIDIA A100-SXM4-80GB", 80),
        ("NVIDIA GeForce RTX 4090", 24),
    ]


@pytest.mark.parametrize(
    ("fleet", "name"),
    [
        ("H100-80G", "NVIDIA H100 80GB HBM3"),
        ("1xA100-40G", "NVIDIA A100-SXM4-40GB"),
        ("1xT4-16G", "Tesla T4"),
        ("1xl40s-45G", "NVIDIA L40S"),
        ("3xMyCard-6G", "NVIDIA MyCard"),
        ("1xA100-SXM4-80G", "NVIDIA A100-SXM4"),
        ("1xRTX 4090-24G", "NVIDIA GeForce RTX 4090"),
    ],
)
def test_a_model_has_the_name_that_the_driver_would_give(fleet, name):
    assert parse_fleet(fleet)[0].name == name


@pytest.mark.parametrize("spec", ["auto", "nvml", "simulated:1xA100-80G"])
def test_a_right_text_names_a_source(spec):
    assert source_of(spec) == spec.partition(":")[0]


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ("", "is ''"),
        ("cuda", "is 'cuda'"),
        ("simulated", "is 'simulated'"),
        ("simulated:", "is 'simulated:'"),
        ("simulated:A100", "part 'A100'"),
        ("simulated:2xA100-80", "part '2xA100-80'"),
        ("simulated:2xA100-80X", "unknown unit 'X'"),
        ("simulated:1xA100-0G", "without memory"),
        ("simulated:0xA100-80G", "names 0 cards"),
        ("simulated:9999xA100-80G", "names 9999 cards"),
        ("simulated:1xA100-80G,,", "part ''"),
    ],
)
def test_a_wrong_text_is_told_what_is_allowed_and_what_to_do(spec, problem):
    with pytest.raises(FleetSpecError) as raised:
        source_of(spec)

    sentence = str(raised.value)
    assert problem in sentence
    assert "simulated:2xA100-80G,1xRTX4090-24G" in sentence
    assert sentence.endswith("Correct COOP_GPUS.")
