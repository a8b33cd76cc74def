"""A run is judged by what its training wrote, not by its exit code alone."""

from __future__ import annotations

import pytest

from jobs.core.completion import Exit, cause, is_complete, judge_completion, tail_lines
from jobs.core.states import Outcome, Reason

COMPLETE = {"global_step": 20, "max_steps": 20}
STOPPED_HALFWAY = {"global_step": 181, "max_steps": 2000}
TRACEBACK = """\
Traceback (most recent call last):
  File "train.py", line 3, in <module>
    raise ValueError("no")
ValueError: File data/missing.json not found.
"""


def judged(code, *, signal=None, state=None, log="", trains=True, stopped=False):
    ended = Exit(code=code, signal=signal)
    return judge_completion(
        ended, trains=trains, trainer_state=state, log_tail=log, stopped=stopped
    )


def test_a_training_that_reached_its_last_step_has_succeeded():
    ending = judged(0, state=COMPLETE)
    assert (ending.outcome, ending.reason) == (Outcome.SUCCEEDED, Reason.COMPLETED)
    assert ending.detail == "It reached step 20."


def test_an_exit_code_of_zero_half_way_is_a_failure():
    """What transformers does on SIGTERM: it saves, writes its results and ends with 0."""
    ending = judged(0, state=STOPPED_HALFWAY)
    assert (ending.outcome, ending.reason) == (Outcome.FAILED, Reason.INCOMPLETE)
    assert "at step 181 of 2000" in ending.detail


def test_a_training_that_left_no_proof_is_a_failure():
    ending = judged(0, state=None)
    assert (ending.outcome, ending.reason) == (Outcome.FAILED, Reason.INCOMPLETE)
    assert "no trainer_state.json" in ending.detail


def test_a_failing_exit_code_is_a_failure_even_after_the_last_step():
    assert judged(1, state=COMPLETE).outcome is Outcome.FAILED


def test_a_command_is_judged_by_its_exit_code():
    ending = judged(0, trains=False)
    assert (ending.outcome, ending.reason) == (Outcome.SUCCEEDED, Reason.COMPLETED)
    failed = judged(3, trains=False, log=TRACEBACK)
    assert (failed.outcome, failed.reason, failed.exit_code) == (
        Outcome.FAILED,
        Reason.EXIT_CODE,
        3,
    )
    assert (
        failed.detail == "It ended with exit code 3: ValueError: File data/missing.json not found."
    )


def test_a_command_that_was_told_to_stop_is_not_done_because_it_ended_with_zero():
    assert judged(0, trains=False, stopped=True).outcome is Outcome.FAILED


def test_a_training_that_finished_while_it_was_being_stopped_has_succeeded():
    assert judged(0, state=COMPLETE, stopped=True).outcome is Outcome.SUCCEEDED


def test_a_signal_that_we_did_not_send_is_named():
    ending = judged(None, signal=9)
    assert (ending.reason, ending.signal) == (Reason.SIGNAL, 9)
    assert ending.detail == "It was ended by SIGKILL (signal 9), which was not sent from here."
    assert "SIGTERM" in judged(143, trains=False).detail


@pytest.mark.parametrize("code", [1, 127, 128, 200, 255])
def test_an_ordinary_code_is_not_taken_for_a_signal(code):
    assert judged(code, trains=False).reason is Reason.EXIT_CODE


@pytest.mark.parametrize(
    "line",
    [
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total",
        "[rank0]: torch.cuda.OutOfMemoryError: CUDA out of memory.",
        "RuntimeError: CUDA error: out of memory",
        "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    ],
)
def test_memory_of_the_card_that_ran_out_is_recognised(line):
    ending = judged(1, log=f"{TRACEBACK}\n{line}\n")
    assert ending.reason is Reason.GPU_OUT_OF_MEMORY
    assert line.removeprefix("[rank0]: ")[:40] in ending.detail


@pytest.mark.parametrize(
    "line",
    [
        "MemoryError",
        "numpy.core._exceptions._ArrayMemoryError: MemoryError: Unable to allocate 8 GiB",
        "RuntimeError: [enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to",
        "OSError: [Errno 12] Cannot allocate memory",
        "terminate called after throwing an instance of 'std::bad_alloc'",
        "RuntimeError: DataLoader worker (pid 88) is killed by signal: Killed.",
    ],
)
def test_main_memory_that_ran_out_is_recognised(line):
    assert judged(1, log=f"{TRACEBACK}{line}\n").reason is Reason.HOST_OUT_OF_MEMORY


@pytest.mark.parametrize(
    ("log", "found"),
    [
        (TRACEBACK, "ValueError: File data/missing.json not found."),
        ("[rank1]: KeyError: 'input'\nsome more\n", "KeyError: 'input'"),
        ("\x1b[31mmodule.CustomError: bad\x1b[0m\n", "module.CustomError: bad"),
        ("bash: line 1: python: command not found\n", "python: command not found"),
        ("KeyboardInterrupt\n", "KeyboardInterrupt"),
        ("10%\r20%\rRuntimeError: x\n", "RuntimeError: x"),
        ("all is well\n", ""),
        ("", ""),
        ("UserWarning: something\n", ""),
    ],
)
def test_the_cause_is_the_last_exception(log, found):
    assert cause(log) == found


def test_a_long_cause_is_shortened():
    assert len(cause("ValueError: " + "x" * 5000)) <= 300


def test_the_last_lines_are_what_a_terminal_would_show():
    log = "one\r\n\n 10%\r 20%\r 30%\n\x1b[1mbold\x1b[0m\nlast"
    assert tail_lines(log, 3) == [" 30%", "bold", "last"]


@pytest.mark.parametrize(
    ("state", "complete"),
    [
        ({"global_step": 20, "max_steps": 20}, True),
        ({"global_step": 21, "max_steps": 20}, True),
        ({"global_step": 19, "max_steps": 20}, False),
        ({"global_step": 0, "max_steps": 0}, False),
        ({"global_step": "20", "max_steps": 20}, False),
        ({}, False),
    ],
)
def test_complete_means_that_the_last_step_is_reached(state, complete):
    assert is_complete(state) is complete


def early_stopping(counter: int) -> dict:
    callback = {
        "args": {"early_stopping_patience": 3},
        "attributes": {"early_stopping_patience_counter": counter},
    }
    return STOPPED_HALFWAY | {"stateful_callbacks": {"EarlyStoppingCallback": callback}}


def test_stopping_early_as_the_config_says_is_complete():
    assert is_complete(early_stopping(3))
    assert not is_complete(early_stopping(2))
    assert not is_complete(STOPPED_HALFWAY | {"stateful_callbacks": None})
