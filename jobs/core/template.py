"""Which jobs are of one kind: a hash that stays the same where only seeds, names and places differ.

Jobs of one kind are expected to run about as long as each other and to load a card alike, so what one has shown is
used for the next. Too fine a kind only means that nothing is known; too coarse a one would mix jobs that have nothing
in common. So a difference counts unless it is known to change neither run time nor load.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from jobs.core.jobspec import JobSpec

_PLACES = 2  # the last parts of a path that tell what it is; what lies above differs from machine to machine

_WITHOUT_EFFECT = re.compile(
    r"""
    (?:.*_)?seeds?                                           # chance
    | (?:.*_)?(?:port|token|key|password|secret)             # access
    | (?:output|out|logs?|logging|save|run|results?|exp|experiment|job|tensorboard)
      (?:_(?:dir|path|file|folder|root|name|id|steps|strategy|total_limit|only_model|level))?
    | (?:wandb|hub|swanlab|trackio|mlflow)_.* | report_to | plot_loss | name | tags?  # reports
    | overwrite_.* | resume_from_checkpoint
    | lr | learning_rate | lr_scheduler.* | warmup_.* | weight_decay | max_grad_norm | momentum
    | (?:.*_)?dropout | lora_alpha | adam_.* | beta[12s]? | label_smoothing.*  # numbers in the same arithmetic
    """,
    re.VERBOSE,
)
_MOMENT = re.compile(
    r"""
    \d{4}-\d\d-\d\d (?:[T_ .-]? \d\d [:._-]? \d\d (?:[:._-]? \d\d)?)?   # 2026-01-31, 2026-01-31T10:15
    | (?<!\d) 20\d{6} (?:[T_.-]? \d{4,6})?                               # 20260131-1015
    | (?<![0-9a-f]) [0-9a-f]{8} (?:-[0-9a-f]{4}){3} -[0-9a-f]{12}        # a UUID
    | (?<!\d) \d{10,}                                                    # seconds since the epoch, ids
    """,
    re.VERBOSE | re.IGNORECASE,
)
_REDIRECTION = re.compile(r"(?:\d|&)?>{1,2}(?:&\d)?(?P<target>.*)")
_SETTING = re.compile(r"-{0,2}(?P<name>[A-Za-z_][\w.-]*)=(?P<value>.*)", re.DOTALL)
_QUOTES = str.maketrans(dict.fromkeys("\"'\\;()", " "))


def template_of(spec: JobSpec) -> str:
    """The kind of this job: SHA-256, hexadecimal. Memory, times and priority do not matter."""
    resources = spec.resources
    parts = {
        "project": spec.project,
        "cards": [resources.gpu_type, resources.gpus, resources.nodes, resources.exclusive],
        "launcher": spec.launcher,
        "workdir": re.sub(r"\d+", "#", spec.workdir or ""),
        "dataset": spec.dataset,
        "env": _settings(spec.env),
        "command": list(_words(spec.command or "")),
        "training": _plain(spec.llamafactory),
    }
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _words(command: str) -> Iterator[str]:
    """The words of a command that matter, each reduced to what it tells."""
    words = command.translate(_QUOTES).split()
    position = 0
    while position < len(words):
        word = words[position]
        following = words[position + 1] if position + 1 < len(words) else ""
        position += 1
        redirection = _REDIRECTION.fullmatch(word)
        if redirection:  # where the output goes
            position += not redirection["target"] and "&" not in word
        elif setting := _SETTING.fullmatch(word):
            if _has_effect(setting["name"]):
                yield f"{setting['name']}={_plain(setting['value'])}"
        elif word.startswith("-") and not _has_effect(word):
            position += not following.startswith("-")
        else:
            yield _plain_text(word)


def _settings(given: Mapping[str, Any]) -> dict[str, Any]:
    return {str(name): _plain(value) for name, value in given.items() if _has_effect(str(name))}


def _has_effect(name: str) -> bool:
    """Whether a setting of this name may change how long a job runs or how it loads its cards."""
    return not _WITHOUT_EFFECT.fullmatch(name.lstrip("-").replace("-", "_").lower())


def _plain(value: Any) -> Any:
    """A value without what only says where or when; every scalar as its text, so that 3 and "3" are the same."""
    if isinstance(value, Mapping):
        return _settings(value)
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if value is None else _plain_text(str(value))


def _plain_text(text: str) -> str:
    if text.startswith(("/", "./", "../", "~", "$")):
        text = "/".join([part for part in text.split("/") if part][-_PLACES:])
    return _MOMENT.sub("#", text)
