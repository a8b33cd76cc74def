"""Public traces as workloads: what each column becomes, on rows made up here in the form of the real ones."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmarks.convert import CONVERTERS, converted, workload_of
from jobs.core.simulation.fleet_spec import parse_fleet, read_fleet
from jobs.core.simulation.shapes import Shape, Shapes
from jobs.core.states import Priority
from jobs.core.units import GIB, MIB
from tests.sources import ROOT


@pytest.fixture
def trace(tmp_path):
    def write(*lines: str):
        path = tmp_path / "trace.csv"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write


def test_elasticflow_has_arrivals_durations_and_cards(trace):
    path = trace("job_id,submission_time,duration,num_gpu", "b,5016,2066,8", "a,5010,1265,1")
    first, second = workload_of("elasticflow", path).jobs
    assert (first.id, first.submit, first.duration, first.gpus) == ("a", 5010, 1265, 1)
    assert (second.id, second.gpus) == ("b", 8)


def test_muri_works_by_iterations_and_starts_take_time(trace):
    path = trace(
        "job_id,num_gpu,submit_time,iterations,model_name,duration,iteration_time",
        "0,8,2000,1000,a2c,77,200",
    )
    (job,) = workload_of("muri", path).jobs
    assert (job.submit, job.gpus, job.start_overhead) == (2, 8, 46)
    assert job.duration == pytest.approx(1000 * 0.2 * 1.015)


def test_philly_has_tenants_and_rows_without_cards_are_left_out(trace):
    path = trace("job_id,user,num_gpu,submit_time,duration", "0,vc_a,4,85,747", "1,vc_b,0,90,10")
    (job,) = workload_of("philly", path).jobs
    assert (job.project, job.gpus, job.submit, job.duration) == ("vc_a", 4, 85, 747)


PODS = (
    "name,cpu_milli,memory_mib,num_gpu,gpu_milli,qos,creation_time,deletion_time,scheduled_time",
    "part,6000,12288,1,460,LS,10,100,40",
    "whole,12500,16384,2,1000,BE,20,100,",
    "none,4000,1024,0,0,Burstable,30,35,30",
)


def test_openb_shares_become_memory_of_a_card_of_a_thousand(trace):
    part, whole, none = workload_of("openb", trace(*PODS)).jobs
    assert (part.memory, part.gpus, part.duration) == (460 * MIB, 1, 60)
    assert (whole.memory, whole.gpus, whole.duration) == (None, 2, 80)
    assert (part.host_cpus, part.host_memory) == (6000, 12 * GIB)
    assert (whole.host_cpus, none.gpus) == (12500, 0)
    assert [job.priority for job in (part, whole, none)] == [
        Priority.HIGH,
        Priority.LOW,
        Priority.MEDIUM,
    ]


def test_openb_machines_hold_openb_pods(trace):
    nodes = converted(
        "openb-nodes",
        trace("sn,cpu_milli,memory_mib,gpu,model", "n0,64000,262144,2,P100", "n1,8000,1024,0,"),
    )
    fleet = read_fleet(nodes.splitlines(keepends=True))
    assert [card.uuid for card in fleet.cards()] == ["n0-gpu0", "n0-gpu1"]
    assert fleet.nodes()[0].cpus == 64_000
    shapes = Shapes(fleet.cards(), fleet.nodes())
    part, whole, none = (shapes.of(job) for job in workload_of("openb", trace(*PODS)).jobs)
    assert part == Shape(1, 1, 460 * MIB, exclusive=False)
    assert whole == Shape(2, 1, 1000 * MIB, exclusive=True)
    assert none == Shape(0, 1, 0, exclusive=False)


def test_a_converted_file_is_read_by_the_command(trace, tmp_path):
    path = trace("job_id,submission_time,duration,num_gpu", "a,0,10,1", "b,1,5,1")
    out = tmp_path / "workload.csv"
    answer = subprocess.run(
        [sys.executable, "-m", "benchmarks.convert", "elasticflow", str(path), str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert out.read_text(encoding="utf-8").splitlines()[0] == "job_id,submit_s,duration_s,gpus"


def test_every_kind_of_trace_is_tried_here():
    assert set(CONVERTERS) == {"elasticflow", "muri", "philly", "openb", "openb-nodes"}
    assert parse_fleet("8x8xV100-32G").cards()
