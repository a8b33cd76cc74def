"""The packing table: on a small world made up here, and, where the public traces are, on the real one."""

from __future__ import annotations

import os

import pytest

from benchmarks import fgd

MACHINES = ["sn,cpu_milli,memory_mib,gpu,model", "a,8000,1000,2,T4", "b,8000,1000,2,P100"]
PODS = [
    "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec",
    "p0,1000,10,1,500,",
    "p1,1000,10,2,1000,",
    "p2,1000,10,1,1000,T4",
    "p3,1000,10,0,0,",
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "openb").mkdir()
    monkeypatch.setenv("COOP_TRACES", str(tmp_path))
    fgd.trace_of.cache_clear()
    yield tmp_path / "openb"
    fgd.trace_of.cache_clear()


def write(folder, pods=PODS):
    (folder / "openb_node_list_gpu_node.csv").write_text("\n".join(MACHINES), encoding="utf-8")
    (folder / "openb_pod_list_tiny.csv").write_text("\n".join(pods), encoding="utf-8")


def test_a_trace_is_read_in_thousandths_of_a_card(folder):
    write(folder)
    trace = fgd.trace_of("tiny")
    assert trace.cards == 4000
    assert [(need.gpus, need.memory, need.gpu_type) for need in trace.pods] == [
        (1, 500, None),
        (2, 1000, None),
        (1, 1000, "T4"),
        (0, 0, None),
    ]


@pytest.mark.parametrize("placement", fgd.ROWS)
def test_a_run_gives_cards_away_and_can_be_repeated(folder, placement):
    write(folder)
    run = fgd.Run("tiny", placement, 1)
    first, second = fgd.packed(run), fgd.packed(run)
    assert first.given == second.given
    assert 50 <= first.given[0] <= first.given[-1] <= 100


def test_a_job_for_one_of_several_models_is_refused(folder):
    write(folder, [PODS[0], "p0,1000,10,1,500,T4|P100"])
    with pytest.raises(SystemExit, match="p0 may run on several models"):
        fgd.trace_of("tiny")


def test_a_missing_file_is_named(folder):
    with pytest.raises(SystemExit, match=r"openb_pod_list_tiny\.csv: fetch it"):
        fgd.trace_of("tiny")


def test_the_bars_are_those_of_the_published_table():
    good = {"random": 87.6, "bestfit-published": 93.1, "best-fit": 94.6, "fragmentation": 95.3}
    assert fgd._problems("default", good) == []
    bad = {"random": 88.0, "bestfit-published": 92.5, "best-fit": 93.5, "fragmentation": 94.6}
    assert len(fgd._problems("default", bad)) == 4


@pytest.mark.skipif("COOP_TRACES" not in os.environ, reason="COOP_TRACES names no folder")
@pytest.mark.parametrize(
    ("placement", "least", "most"),
    [("bestfit-published", 92.58, 93.58), ("best-fit", 93.58, 100), ("fragmentation", 94.7, 100)],
)
def test_the_published_table_comes_out(placement, least, most):
    assert least <= fgd.packed(fgd.Run("default", placement, 0)).given[-1] <= most
