"""Workload and fleet files: what they may hold, and what is said where they are wrong."""

from __future__ import annotations

import pytest

from jobs.core.simulation.fleet_spec import MODES, FleetSpecError, parse_fleet, read_fleet
from jobs.core.simulation.shapes import Shape, Shapes
from jobs.core.simulation.workload import WorkloadError, WorkloadJob, read_workload
from jobs.core.states import Priority
from jobs.core.units import GIB

HEADER = "job_id,submit_s,duration_s,gpus,min_memory,gpu_type,project,user,priority,sm_share\n"


def read(text: str, **options):
    return read_workload(text.splitlines(keepends=True), **options)


def problem(text: str, **options) -> str:
    with pytest.raises(WorkloadError) as refused:
        read(text, **options)
    return str(refused.value)


# --- workloads ----------------------------------------------------------------------------------------


def test_every_column_is_read():
    jobs = read(HEADER + "a,5,60,2,16G,A100,vision,ana,high,0.4\n").jobs
    assert jobs == (
        WorkloadJob(
            id="a",
            submit=5,
            duration=60,
            gpus=2,
            memory=16 * GIB,
            gpu_type="A100",
            project="vision",
            user="ana",
            priority=Priority.HIGH,
            sm_share=0.4,
        ),
    )


def test_two_columns_suffice():
    jobs = read("submit_s,duration_s\n0,10\n1.5,20\n").jobs
    assert jobs == (
        WorkloadJob(id="1", submit=0, duration=10),
        WorkloadJob(id="2", submit=1.5, duration=20),
    )
    assert (jobs[0].gpus, jobs[0].memory, jobs[0].sm_share) == (1, None, None)


def test_an_empty_cell_is_a_column_left_out():
    assert read(HEADER + "a,5,60,,,,,,,\n").jobs == (WorkloadJob(id="a", submit=5, duration=60),)


def test_jobs_come_in_the_order_of_their_submit_and_equal_ones_in_that_of_the_file():
    text = "job_id,submit_s,duration_s\nlate,9,1\nb,0,1\na,0,1\n"
    assert [job.id for job in read(text).jobs] == ["b", "a", "late"]


def test_what_production_may_need_is_read_as_well():
    text = "submit_s,duration_s,preemptible,cpus,host_memory,load_s\n0,1,yes,2.5,32G,7\n"
    (job,) = read(text, overhead_column="load_s").jobs
    assert (job.preemptible, job.host_cpus, job.host_memory) == (True, 2500, 32 * GIB)
    assert job.start_overhead == 7


def test_columns_that_nobody_knows_are_named_not_refused():
    assert read("submit_s,duration_s,model\n0,1,bert\n").ignored == ("model",)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("a,soon,60,1,,,,,,", "line 2, submit_s: 'soon' is no such number; allowed is 0 to 1e+12."),
        ("a,-1,60,1,,,,,,", "line 2, submit_s: '-1' is no such number"),
        ("a,0,nan,1,,,,,,", "line 2, duration_s: 'nan' is no such number"),
        ("a,0,,1,,,,,,", "line 2, duration_s: an empty cell is no such number"),
        ("a,0,1,1.5,,,,,,", "line 2, gpus: '1.5' is no such number; allowed are whole numbers"),
        ("a,0,1,65537,,,,,,", "line 2, gpus: '65537' is no such number"),
        ("a,0,1,1,16,,,,,", "line 2, min_memory: the size '16' has no unit; allowed are M, G"),
        ("a,0,1,1,,,,,urgent,", "line 2, priority: 'urgent' is no priority; allowed are low,"),
        ("a,0,1,1,,,,,,1.2", "line 2, sm_share: '1.2' is no such number; allowed is 0 to 1."),
        ("a,0,1,1,,,,,,,more", "line 2: there are more cells than columns"),
        ("a,0,1,1,,,,,,\na,1,1,1,,,,,,", "line 3, job_id: 'a' is line 2, too; each job needs"),
    ],
)
def test_a_wrong_cell_is_named_by_line_and_column(row, said):
    assert said in problem(HEADER + row + "\n")


def test_all_wrong_cells_are_told_at_once_up_to_twenty():
    text = problem("submit_s,duration_s\n" + "x,1\n" * 30)
    assert text.count("submit_s:") == 20
    assert text.endswith("... and 10 more problems.")


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("", {}, "line 1, submit_s: there is no such column in nothing"),
        (
            "job_id,duration\n",
            {},
            "line 1, submit_s: there is no such column in 'job_id, duration'",
        ),
        ("submit_s,duration_s,gpus,gpus\n", {}, "line 1, gpus: the column is there twice"),
        ("submit_s,duration_s\n", {}, "there is no job in it"),
        ("submit_s,duration_s\n", {"overhead_column": "load"}, "line 1, load: there is no such"),
        ('submit_s,duration_s\n0,"1"2\n', {}, "line 2: this is not CSV"),
        ("submit_s,duration_s,preemptible\n0,1,maybe\n", {}, "preemptible: 'maybe' is neither"),
    ],
)
def test_a_file_that_is_no_workload_is_refused(text, options, said):
    assert said in problem(text, **options)


# --- fleets -------------------------------------------------------------------------------------------


def test_a_short_text_names_machines_and_cards():
    cards = parse_fleet("2x3xV100-32G, 1x1xA100-SXM4-80G").cards()
    assert [card.uuid for card in cards[:4]] == [
        "node0-gpu0",
        "node0-gpu1",
        "node0-gpu2",
        "node1-gpu0",
    ]
    assert len(cards) == 7
    assert (cards[0].name, cards[0].total, cards[0].measured_free) == (
        "V100-32G",
        32 * GIB,
        32 * GIB,
    )
    assert (cards[-1].name, cards[-1].node) == ("A100-SXM4-80G", "node2")
    assert cards[0].max_holders == 1


def test_the_mode_says_how_far_cards_are_shared():
    spec = parse_fleet("1x1xA100-80G")
    (card,) = spec.cards(MODES["dynamic-sharding"])
    assert (card.threshold, card.max_holders, card.max_busy) == (0.95, 6, 1.6)


def test_a_file_names_machines_with_processors():
    spec = read_fleet(
        [
            "node,gpus,model,memory,cpus,host_memory,count\n",
            "big,2,A100,80G,96,512G,\n",
            ",0,,,32,,2\n",
        ]
    )
    assert [card.uuid for card in spec.cards()] == ["big-gpu0", "big-gpu1"]
    big, first, second = spec.nodes()
    assert (big.name, big.cpus, big.host_memory) == ("big", 96_000, 512 * GIB)
    assert (first.name, second.name, second.cpus) == ("node1", "node2", 32_000)
    assert second.host_memory > 2**60  # no limit


def test_machines_without_limits_need_no_view():
    assert parse_fleet("2x1xA100-80G").nodes() == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names no machines. Allowed: <machines>x<cards>x<model>-<memory>"),
        ("8xV100-32G", "'8xV100-32G', which names no machines"),
        ("1x8xV100-32", "'1x8xV100-32', which names no machines"),
        ("1x8xV100-32Q", "has the unknown unit 'Q'"),
        ("1x0xV100-32G", "0 cards, but 1 to 1000000 are possible"),
        ("999x9999xV100-32G", "9989001 cards"),
        ("1x8xV100-0G", "cards without memory"),
    ],
)
def test_a_text_that_names_no_machines_is_refused(text, said):
    with pytest.raises(FleetSpecError) as refused:
        parse_fleet(text)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["model\n", "A100\n"], "line 1: the columns are 'model'; allowed are gpus, model"),
        (["gpus,colour\n"], "allowed are gpus, model, memory, node, count, cpus, host_memory"),
        (["gpus,memory\n", "x,8G\n"], "line 2, gpus: 'x' is no whole number"),
        (["gpus,memory\n", "1,8\n"], "line 2, memory: the size '8' has no unit"),
        (["gpus,memory\n", "1,\n"], "line 2, memory: the machine has cards without memory"),
        (["gpus,memory,cpus\n", "1,8G,many\n"], "line 2, cpus: 'many' is no number"),
        (["gpus,memory\n"], "0 cards"),
        (["node,gpus,memory\n", "a,1,8G\n", "a,1,8G\n"], "Two machines have the same name"),
        (["gpus,memory\n", '1,"8"G\n'], "line 2: this is not CSV"),
    ],
)
def test_a_file_that_describes_no_machines_is_refused(lines, said):
    with pytest.raises(FleetSpecError) as refused:
        read_fleet(lines)
    assert said in str(refused.value)


# --- how jobs are laid out on machines ------------------------------------------------------------------


def shape(fleet, **fields) -> Shape | None:
    return Shapes(fleet.cards(), fleet.nodes()).of(
        WorkloadJob(id="a", submit=0, duration=1, **fields)
    )


MIXED = parse_fleet("4x8xV100-32G,2x4xA100-80G")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"gpus": 1, "memory": GIB}, Shape(1, 1, GIB, exclusive=False)),
        ({"gpus": 8}, Shape(8, 1, 32 * GIB, exclusive=True)),  # whole cards of the smallest type
        ({"gpus": 1, "memory": 40 * GIB}, Shape(1, 1, 40 * GIB, exclusive=False)),
        ({"gpus": 9, "memory": GIB}, Shape(8, 2, GIB, exclusive=False)),
        ({"gpus": 32, "memory": GIB}, Shape(8, 4, GIB, exclusive=False)),
        ({"gpus": 33, "memory": GIB}, None),
        ({"gpus": 8, "memory": 40 * GIB}, Shape(4, 2, 40 * GIB, exclusive=False)),
        ({"gpus": 2, "gpu_type": "A100"}, Shape(2, 1, 80 * GIB, exclusive=True)),
        ({"gpus": 1, "gpu_type": "H100"}, None),
        ({"gpus": 1, "memory": 81 * GIB}, None),
        ({"gpus": 0}, Shape(0, 1, 0, exclusive=False)),
    ],
)
def test_a_job_gets_one_machine_or_whole_ones_of_one_model(fields, expected):
    assert shape(MIXED, **fields) == expected


def test_processors_and_main_memory_count_where_machines_limit_them():
    limited = read_fleet(["gpus,memory,cpus,host_memory,count\n", "4,32G,16,64G,2\n"])
    assert shape(limited, host_cpus=16_000, memory=GIB)
    assert shape(limited, host_cpus=17_000, memory=GIB) is None
    assert shape(limited, gpus=0, host_memory=65 * GIB) is None
    assert shape(limited, gpus=0, host_memory=64 * GIB)
