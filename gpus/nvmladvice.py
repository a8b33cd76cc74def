"""The driver's error numbers as sentences that say what to do."""

from __future__ import annotations

from pathlib import Path

NVIDIA_VENDOR = "0x10de"
DISPLAY_CLASS = "0x03"

UNINITIALIZED = 1
NO_PERMISSION = 4
DRIVER_NOT_LOADED = 9
IRQ_ISSUE = 11
LIBRARY_NOT_FOUND = 12
GPU_IS_LOST = 15
RESET_REQUIRED = 16
OPERATING_SYSTEM = 17
VERSION_MISMATCH = 18
GPU_NOT_FOUND = 28
UNKNOWN = 999

_DRIVER_WIDE = frozenset({UNINITIALIZED, DRIVER_NOT_LOADED, LIBRARY_NOT_FOUND, VERSION_MISMATCH})

_ADVICE = {
    NO_PERMISSION: "This account may not ask the NVIDIA driver. Give it the device files /dev/nvidia*"
    " (often: add it to the group `video`), then restart the service.",
    DRIVER_NOT_LOADED: "The NVIDIA driver is installed, but its kernel module is not loaded."
    " Run `sudo modprobe nvidia`, or reboot after a change of kernel or driver.",
    LIBRARY_NOT_FOUND: "There is no NVIDIA driver on this machine (libnvidia-ml.so.1 is missing)."
    " Install one, or name simulated cards with COOP_GPUS=simulated:2xA100-80G.",
    VERSION_MISMATCH: "The NVIDIA driver was replaced while its old kernel module stays loaded."
    " Jobs that run go on; no new one can start here. Reboot this machine.",
    OPERATING_SYSTEM: "The operating system does not let this account ask the NVIDIA driver."
    " Check the device files /dev/nvidia* and, in a container, its device rules.",
}
_FAULTS = {
    GPU_IS_LOST: "The card has fallen off the bus. Look for XID messages with"
    " `sudo dmesg | grep -i xid`, then reset it or reboot this machine.",
    RESET_REQUIRED: "The card needs a reset. Stop what runs on it, then run"
    " `sudo nvidia-smi --gpu-reset`, or reboot.",
    IRQ_ISSUE: "The card's interrupts do not arrive. Reboot this machine; check the slot and the"
    " firmware settings.",
    GPU_NOT_FOUND: "The driver lists the card but does not find it. Reboot this machine; check the slot"
    " and the power cables.",
}
NO_MEMORY_FAULT = (
    "The driver answers 'unknown error' when asked for this card's memory, as it does for a card that has"
    " failed. Look for XID messages with `sudo dmesg | grep -i xid`, then reset it or reboot this machine."
)


def advice_on(code: int, text: str) -> str:
    """What to do about an error that concerns the whole driver."""
    return (
        _ADVICE.get(code)
        or f"The NVIDIA driver cannot be asked: {text} (error {code}). Check that `nvidia-smi` works."
    )


def fault_of(code: int) -> str | None:
    """Why a card that gives this answer cannot be used; None when the answer means no such thing."""
    return _FAULTS.get(code)


def is_driver_wide(code: int) -> bool:
    """Whether the error concerns the driver as a whole, and no card in particular."""
    return code in _DRIVER_WIDE


def has_nvidia_card(devices: Path = Path("/sys/bus/pci/devices")) -> bool:
    """Whether an NVIDIA card is plugged in, with or without a driver."""
    return any(
        _content(device / "vendor") == NVIDIA_VENDOR
        and _content(device / "class").startswith(DISPLAY_CLASS)
        for device in (devices.iterdir() if devices.is_dir() else ())
    )


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""
