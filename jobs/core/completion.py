"""How a run that has ended is judged: by its exit code, by what its training wrote, and by the end of its log.

An exit code of 0 proves nothing for a training: a run that was asked to stop saves a checkpoint, writes its results as
if it had finished, and ends with 0. The proof is `trainer_state.json`: `global_step` has reached `max_steps`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from jobs.core.ending import Ending
from jobs.core.outofmemory import shortage_in
from jobs.core.states import Outcome, Reason

TAIL_BYTES = 64 * 1024
"""How much of the log's end is needed for a judgement."""

LONGEST_CAUSE = 300

# Linux's numbers; the ones by which a process is usually ended.
_SIGNALS = {
    1: "SIGHUP",
    2: "SIGINT",
    3: "SIGQUIT",
    4: "SIGILL",
    6: "SIGABRT",
    7: "SIGBUS",
    8: "SIGFPE",
    9: "SIGKILL",
    10: "SIGUSR1",
    11: "SIGSEGV",
    12: "SIGUSR2",
    13: "SIGPIPE",
    14: "SIGALRM",
    15: "SIGTERM",
    24: "SIGXCPU",
    25: "SIGXFSZ",
}

_GPU_MEMORY = re.compile(
    r"CUDA out of memory|OutOfMemoryError|CUDA(?: driver)? error: out of memory|HIP out of memory"
    r"|CU(?:BLAS|DNN|SOLVER|SPARSE|FFT)_STATUS_(?:ALLOC_FAILED|INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED)"
    r"|cudaErrorMemoryAllocation|CUDA_ERROR_OUT_OF_MEMORY|CUFFT_ALLOC_FAILED"
    r"|Triton Error \[CUDA\]: out of memory|CUDA failed with error out of memory"
    r"|Cuda failure (?:\d+ )?'out of memory'|RESOURCE_EXHAUSTED: Out of memory"
)
_HOST_MEMORY = re.compile(
    r"^MemoryError|MemoryError:|Cannot allocate memory|DefaultCPUAllocator: (?:can't|not enough)"
    r"|std::bad_alloc|DataLoader worker .* killed by signal: Killed",
    re.MULTILINE,
)
_EXCEPTION = re.compile(r"[A-Za-z_][\w.]*(?:Error|Exception|Interrupt)(?::\s.*|\s*)")
_SHELL = re.compile(r"bash: line \d+: (.+)")
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
_PREFIX = re.compile(r"^(?:\[rank\d+\]:\s*|\S+\[\d+\]:\s*)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Exit:
    """How the process ended, as the kernel told it: one of the two."""

    code: int | None
    signal: int | None = None


def judge_completion(
    ended: Exit,
    *,
    trains: bool,
    trainer_state: Mapping[str, Any] | None,
    log_tail: str = "",
    stopped: bool = False,
) -> Ending:
    """The ending of a run that nobody and nothing else accounts for.

    Args:
        ended: how the process ended.
        trains: whether it was a LLaMA-Factory training, which must prove that it is complete.
        trainer_state: the content of output_dir/trainer_state.json, None without one.
        log_tail: the last `TAIL_BYTES` of what it printed.
        stopped: whether we had told it to stop; then it is never complete by its exit code alone.
    """
    if ended.code != 0:
        return _failed(ended, log_tail)
    if not trains and not stopped:
        return _ending(ended, Outcome.SUCCEEDED, Reason.COMPLETED, "")
    if trains and trainer_state is not None and is_complete(trainer_state):
        step = trainer_state["global_step"]
        return _ending(ended, Outcome.SUCCEEDED, Reason.COMPLETED, f"It reached step {step}.")
    return _ending(ended, Outcome.FAILED, Reason.INCOMPLETE, _incomplete(trains, trainer_state))


def is_complete(trainer_state: Mapping[str, Any]) -> bool:
    """Whether the training reached its last step, or stopped early as its config told it to."""
    step, last = trainer_state.get("global_step"), trainer_state.get("max_steps")
    if not isinstance(step, int) or not isinstance(last, int) or last <= 0:
        return False
    return step >= last or _stopped_early(trainer_state)


def progress_of(trainer_state: Mapping[str, Any]) -> str:
    """How far a training came, in words."""
    step, last = trainer_state.get("global_step"), trainer_state.get("max_steps")
    return f"step {step} of {last}"


def cause(log_tail: str) -> str:
    """The line of a log that says why it ended: the last exception's, or the shell's; empty without one."""
    for line in reversed(tail_lines(log_tail, 400)):
        bare = _PREFIX.sub("", line).strip()
        shell = _SHELL.search(bare)
        if shell:
            return _short(shell[1])
        if _EXCEPTION.fullmatch(bare):
            return _short(bare)
    return ""


def tail_lines(log_tail: str, count: int) -> list[str]:
    """The last lines as a terminal would show them: without escape sequences, progress bars as they ended."""
    text = _ESCAPES.sub("", log_tail).replace("\r\n", "\n")
    lines = [line.rstrip("\r").rpartition("\r")[2].rstrip() for line in text.split("\n")]
    return [line for line in lines if line][-count:]


def _failed(ended: Exit, log_tail: str) -> Ending:
    recent = "\n".join(tail_lines(log_tail, 200))
    why = cause(log_tail)
    if _GPU_MEMORY.search(recent):
        detail = _sentence("It ran out of GPU memory", _matching_line(_GPU_MEMORY, recent))
        found = _ending(ended, Outcome.FAILED, Reason.GPU_OUT_OF_MEMORY, detail)
        return replace(found, shortage=shortage_in(recent))
    if _HOST_MEMORY.search(recent):
        return _ending(
            ended,
            Outcome.FAILED,
            Reason.HOST_OUT_OF_MEMORY,
            _sentence("It ran out of main memory", _matching_line(_HOST_MEMORY, recent)),
        )
    number = ended.signal or _signal_of_shell(ended.code)
    if number is not None:
        text = f"It was ended by {_signal_name(number)}, which was not sent from here"
        return _ending(ended, Outcome.FAILED, Reason.SIGNAL, _sentence(text, why))
    text = f"It ended with exit code {ended.code}"
    return _ending(ended, Outcome.FAILED, Reason.EXIT_CODE, _sentence(text, why))


def _ending(ended: Exit, outcome: Outcome, reason: Reason, detail: str) -> Ending:
    return Ending(
        outcome=outcome, reason=reason, detail=detail, exit_code=ended.code, signal=ended.signal
    )


def _incomplete(trains: bool, state: Mapping[str, Any] | None) -> str:
    if not trains:
        return (
            "It was told to stop and ended with exit code 0, which does not prove that it was done."
        )
    if state is None:
        return "It ended with exit code 0 but left no trainer_state.json, so nothing proves that it trained."
    return f"It ended with exit code 0 at {progress_of(state)}, before its last step."


def _stopped_early(state: Mapping[str, Any]) -> bool:
    """Whether transformers' EarlyStoppingCallback ended it: its patience is used up."""
    callbacks = state.get("stateful_callbacks")
    early = callbacks.get("EarlyStoppingCallback") if isinstance(callbacks, dict) else None
    try:
        patience = early["args"]["early_stopping_patience"]  # type: ignore[index]
        return bool(early["attributes"]["early_stopping_patience_counter"] >= patience)  # type: ignore[index]
    except (KeyError, TypeError):
        return False


def _signal_of_shell(code: int | None) -> int | None:
    """A shell tells of a command that a signal ended by 128 + the signal's number."""
    number = (code or 0) - 128
    return number if number in _SIGNALS else None


def _signal_name(number: int) -> str:
    name = _SIGNALS.get(number)
    return f"{name} (signal {number})" if name else f"signal {number}"


def _matching_line(pattern: re.Pattern[str], text: str) -> str:
    """The last whole line that the pattern is found in."""
    lines = [line for line in text.split("\n") if pattern.search(line)]
    return _short(_PREFIX.sub("", lines[-1]).strip()) if lines else ""


def _sentence(text: str, why: str) -> str:
    return f"{text}: {why}" if why else f"{text}."


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_CAUSE else f"{text[: LONGEST_CAUSE - 1]}…"
