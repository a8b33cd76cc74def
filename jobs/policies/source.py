"""What the setting `policy` may name: a policy that comes with the service, or a class in a file of the site.

The file is looked at and parsed here, never executed: that is for the process that runs it.
"""

from __future__ import annotations

import ast
import os
from dataclasses import dataclass
from pathlib import Path

from jobs.core.policies import DEFAULT, SHIPPED

LARGEST = 2**20  # bytes of a policy's file


class PolicyRefused(ValueError):
    """A setting that names no usable policy; the text is a clause that goes on from "the policy X: "."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Where a policy comes from: `file` is None for one that comes with the service."""

    name: str  # of the class in the file, or of the shipped policy
    file: Path | None = None

    @property
    def is_default(self) -> bool:
        """Whether the scheduler's own order is wanted, for which nobody must be asked."""
        return self.file is None and self.name == DEFAULT

    def version(self) -> tuple[int, ...]:
        """Differs after the file has changed; empty where there is none."""
        if self.file is None:
            return ()
        try:
            status = self.file.stat()
        except OSError:
            return ()
        return status.st_mtime_ns, status.st_size, status.st_ino


def allowed_policies(base: Path) -> str:
    """What the setting may be, in words."""
    names = ", ".join(sorted(SHIPPED))
    return f"{names}, or path/policy.py:ClassName (a relative path counts from {base})"


def source_of(setting: str, base: Path) -> Source:
    """What the setting names; nothing is looked at yet. A relative path counts from `base`.

    Raises:
        PolicyRefused: it is neither a shipped name nor of the form `path/policy.py:ClassName`.
    """
    if not setting or setting in SHIPPED:
        return Source(name=setting or DEFAULT)
    path, colon, name = setting.rpartition(":")
    if not colon:
        raise PolicyRefused(f"there is no policy of the name {setting!r}")
    if not name.isidentifier():
        raise PolicyRefused(f"{name!r} behind the colon is not the name of a class")
    if not path.endswith(".py") or not path.isprintable():
        raise PolicyRefused(f"{path!r} before the colon is not the path of a .py file")
    try:
        file = base / Path(path).expanduser()
    except RuntimeError as error:
        raise PolicyRefused(f"{path!r} begins in a home folder that does not exist") from error
    return Source(name=name, file=Path(os.path.normpath(file)))


def examine(source: Source) -> None:
    """Look at the file without executing it.

    Raises:
        PolicyRefused: it cannot be read, others could have written it, or it has no such class.
    """
    if source.file is None:
        return
    _check_owner(source.file)
    tree = _parsed(source.file)
    found = _names_in(tree)
    if not found & {source.name, "*"}:
        classes = ", ".join(node.name for node in tree.body if isinstance(node, ast.ClassDef))
        raise PolicyRefused(
            f"{source.file} has no class {source.name}; it has {classes or 'no class at all'}"
        )


def _check_owner(file: Path) -> None:
    """The policy runs with the rights of the service, so nobody else may be able to change it."""
    try:
        status = file.stat()
    except OSError as error:
        raise PolicyRefused(f"{file} cannot be read ({error.strerror})") from error
    if not file.is_file():
        raise PolicyRefused(f"{file} is not a file")
    if status.st_size > LARGEST:
        raise PolicyRefused(f"{file} has {status.st_size} bytes; at most {LARGEST} are allowed")
    if status.st_uid not in {0, os.geteuid()} or status.st_mode & 0o002:
        raise PolicyRefused(
            f"{file} may be changed by others: it must belong to root or to the account of the service,"
            " and not be writable for everybody (chown, chmod o-w)"
        )


def _parsed(file: Path) -> ast.Module:
    try:
        return ast.parse(file.read_bytes(), filename=str(file))
    except OSError as error:
        raise PolicyRefused(f"{file} cannot be read ({error.strerror})") from error
    except SyntaxError as error:
        raise PolicyRefused(
            f"{file} is not valid Python: {error.msg} (line {error.lineno})"
        ) from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise PolicyRefused(f"{file} is not valid Python: {error}") from error


def _names_in(tree: ast.Module) -> set[str]:
    """The names that the module binds at its top, also inside `if` and `try`."""
    names: set[str] = set()
    statements = list(tree.body)
    while statements:
        node = statements.pop()
        if isinstance(node, ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.If | ast.Try | ast.With):
            statements += [each for each in ast.walk(node) if isinstance(each, ast.stmt)][1:]
    return names
