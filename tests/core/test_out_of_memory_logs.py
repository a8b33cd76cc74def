"""Forty ends of logs as libraries write them: which ran out of the card's memory, of the machine's, or of neither."""

from __future__ import annotations

import pytest

from jobs.core.completion import Exit, judge_completion
from jobs.core.states import Reason

CARD = [
    "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0; 23.69 GiB total capacity)",
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 79.15 GiB",
    "[rank3]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.19 GiB.",
    "RuntimeError: CUDA out of memory. Tried to allocate 512.00 MiB (GPU 1; 15.78 GiB total capacity)",
    "RuntimeError: CUDA error: out of memory",
    "torch.AcceleratorError: CUDA error: out of memory",
    "RuntimeError: CUDA driver error: out of memory",
    "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "RuntimeError: cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    "torch._C._LinAlgError: cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate(handle)`",
    "RuntimeError: Triton Error [CUDA]: out of memory",
    "ncclUnhandledCudaError: Call to CUDA function failed.\nLast error:\nCuda failure 'out of memory'",
    "ncclUnhandledCudaError: Call to CUDA function failed.\nLast error:\nCuda failure 2 'out of memory'",
    "RuntimeError: CUDA failed with error out of memory",
    "pycuda._driver.MemoryError: cuMemAlloc failed: CUDA_ERROR_OUT_OF_MEMORY",
    "jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory trying to allocate 4294967296 bytes.",
    "cupy_backends.cuda.api.runtime.CUDARuntimeError: cudaErrorMemoryAllocation: out of memory",
    "torch.OutOfMemoryError: HIP out of memory. Tried to allocate 76.00 MiB. GPU 0 has a total capacity of 63.98 GiB",
    "torch.cuda.OutOfMemoryError: Allocation on device 0 would exceed allowed memory. (out of memory)",
    "0: torch.OutOfMemoryError: CUDA out of memory.\nW0203 torch/distributed/elastic: Sending process 88",
]
MACHINE = [
    "MemoryError",
    "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 7.45 GiB for an array",
    "RuntimeError: [enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory",
    "RuntimeError: DefaultCPUAllocator: not enough memory: you tried to allocate 4194304 bytes.",
    "OSError: [Errno 12] Cannot allocate memory",
    "terminate called after throwing an instance of 'std::bad_alloc'",
    "RuntimeError: DataLoader worker (pid 4242) is killed by signal: Killed. ",
    "RuntimeError: DataLoader worker (pid(s) 4242, 4243) exited unexpectedly\nMemoryError",
    "bash: fork: Cannot allocate memory",
    "pyarrow.lib.ArrowMemoryError: MemoryError: malloc of size 8589934592 failed",
]
NEITHER = [
    "ValueError: The memory of the model is None.",
    "RuntimeError: CUDA error: device-side assert triggered",
    "RuntimeError: CUDA error: an illegal memory access was encountered",
    "RuntimeError: NCCL error: unhandled system error",
    "FileNotFoundError: [Errno 2] No such file or directory: 'memory.json'",
    "torch.distributed.DistBackendError: NCCL timeout",
    "KeyError: 'out of memory'",
    "RuntimeError: expected scalar type Half but found Float",
    "OSError: [Errno 28] No space left on device",
    "AssertionError: Torch not compiled with CUDA enabled",
]
CASES = [
    *((line, Reason.GPU_OUT_OF_MEMORY) for line in CARD),
    *((line, Reason.HOST_OUT_OF_MEMORY) for line in MACHINE),
    *((line, Reason.EXIT_CODE) for line in NEITHER),
]


def judged(line: str, code: int = 1) -> Reason:
    log = f"  3%|▎         | 12/400 [00:31<16:20]\rTraceback (most recent call last):\n  File x\n{line}\n"
    return judge_completion(Exit(code=code), trains=False, trainer_state=None, log_tail=log).reason


def test_there_are_forty() -> None:
    assert len(CASES) == 40


@pytest.mark.parametrize(("line", "reason"), CASES)
def test_the_end_of_a_log_tells_what_ran_out(line: str, reason: Reason) -> None:
    assert judged(line) is reason


@pytest.mark.parametrize("line", [*CARD, *MACHINE])
def test_a_run_that_ended_well_ran_out_of_nothing_whatever_it_printed(line: str) -> None:
    assert judged(line, code=0) is Reason.COMPLETED
