from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.core.gputypes import matches_gpu_type
from jobs.core.units import MIB

# name as NVML tells it, memory as NVML tells it (MiB)
CARDS = {
    "a100-80": ("NVIDIA A100-SXM4-80GB", 81920),
    "a100-80-pcie": ("NVIDIA A100 80GB PCIe", 81920),
    "a100-40": ("NVIDIA A100-PCIE-40GB", 40960),
    "a10": ("NVIDIA A10", 23028),
    "a30": ("NVIDIA A30", 24258),
    "h100": ("NVIDIA H100 80GB HBM3", 81559),
    "h200": ("NVIDIA H200", 143771),
    "l4": ("NVIDIA L4", 23034),
    "l40s": ("NVIDIA L40S", 46068),
    "4090": ("NVIDIA GeForce RTX 4090", 24564),
    "a6000": ("NVIDIA RTX A6000", 49140),
    "6000ada": ("NVIDIA RTX 6000 Ada Generation", 49140),
    "v100": ("Tesla V100-SXM2-16GB", 16384),
    "t4": ("Tesla T4", 15360),
    "simulated": ("A100-80G", 81920),
    "mig": ("NVIDIA A100-SXM4-80GB MIG 1g.10gb", 9728),
}
MATCHES = [
    ("A100", {"a100-80", "a100-80-pcie", "a100-40", "simulated", "mig"}),
    ("a100", {"a100-80", "a100-80-pcie", "a100-40", "simulated", "mig"}),
    ("A100-80G", {"a100-80", "a100-80-pcie", "simulated"}),
    ("A100 80GB", {"a100-80", "a100-80-pcie", "simulated"}),
    ("A100-40G", {"a100-40"}),
    ("A100 PCIe", {"a100-80-pcie", "a100-40"}),
    ("A10", {"a10"}),
    ("A1", set()),
    ("A", set()),
    ("L4", {"l4"}),
    ("L40S-48G", {"l40s"}),
    ("RTX4090", {"4090"}),
    ("rtx 4090", {"4090"}),
    ("RTX-4090-24G", {"4090"}),
    ("4090", {"4090"}),
    ("RTX409", set()),
    ("GeForce", {"4090"}),
    ("A6000", {"a6000"}),
    ("RTX 6000", {"6000ada"}),
    ("H100-80G", {"h100"}),
    ("H200-141G", {"h200"}),
    ("T4-16G", {"t4"}),
    ("V100-32G", set()),
    ("80G", {"a100-80", "a100-80-pcie", "h100", "simulated"}),
    ("MIG", {"mig"}),
    ("1g.10gb", {"mig"}),
    ("B200", set()),
    ("---", set()),
]


@pytest.mark.parametrize(("gpu_type", "expected"), MATCHES)
def test_a_type_means_the_cards_whose_name_has_its_words(gpu_type, expected):
    found = {
        key
        for key, (name, memory) in CARDS.items()
        if matches_gpu_type(gpu_type, name, memory * MIB)
    }
    assert found == expected


def test_no_type_means_every_card():
    assert all(matches_gpu_type(None, name, memory * MIB) for name, memory in CARDS.values())


@given(st.sampled_from(sorted(CARDS)), st.data())
def test_a_part_of_a_word_never_matches(key, data):
    name, memory = CARDS[key]
    words = re.findall(r"[A-Za-z0-9.]+", name)
    word = data.draw(st.sampled_from([each for each in words if len(each) > 1]))
    part = word[: data.draw(st.integers(1, len(word) - 1))]
    whole = {each.upper() for each in words}
    is_size = re.fullmatch(r"(?i)\d+(g|gb|gib)", part)
    assert part.upper() in whole or is_size or not matches_gpu_type(part, name, memory * MIB)


@given(st.sampled_from(sorted(CARDS)))
def test_a_card_is_of_the_type_that_its_own_name_spells(key):
    name, memory = CARDS[key]
    without_size = re.sub(r"(?i)[ -]\d+gb(?=[ -]|$)", "", name, count=1)
    assert matches_gpu_type(without_size.lower(), name, memory * MIB)
