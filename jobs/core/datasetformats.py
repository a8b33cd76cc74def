"""What LLaMA-Factory expects of a row, for each of its formats, and how it is told about a file.

The rules are those of its converters: what would stop a run, or silently drop a row, is a problem here.

alpaca    instruction, input, output as text; optional system, history; or chosen and rejected; or text alone
sharegpt  conversations: a list of {from, value}; human and gpt take turns, observation and function_call too
openai    messages: a list of {role, content}; user and assistant take turns, tool answers where `tools` is given
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

FORMATS = ("alpaca", "sharegpt", "openai")

# Each role of a column, and the names by which it is found, first match first.
_ALPACA_ROLES: dict[str, tuple[str, ...]] = {
    "prompt": ("instruction", "prompt", "question", "text"),
    "query": ("input", "query", "context"),
    "response": ("output", "response", "completion", "answer"),
    "history": ("history",),
}
_CHAT_ROLES: dict[str, tuple[str, ...]] = {"messages": ("conversations", "messages")}
_COMMON_ROLES: dict[str, tuple[str, ...]] = {
    name: (name,)
    for name in ("system", "tools", "images", "videos", "audios", "chosen", "rejected", "kto_tag")
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Tags:
    """The words that a chat format uses inside its messages."""

    role: str
    content: str
    user: str
    assistant: str
    observation: str
    function: str
    system: str


TAGS = {
    "sharegpt": Tags(
        role="from",
        content="value",
        user="human",
        assistant="gpt",
        observation="observation",
        function="function_call",
        system="system",
    ),
    "openai": Tags(
        role="role",
        content="content",
        user="user",
        assistant="assistant",
        observation="tool",
        function="function",
        system="system",
    ),
}


def detect_format(row: Any) -> str | None:
    """The format that the first row has, None when it resembles none of them."""
    if not isinstance(row, dict):
        return None
    for column in ("conversations", "messages"):
        if column in row:
            return chat_format_of(row[column])
    known = {name for names in _ALPACA_ROLES.values() for name in names} | {"chosen", "rejected"}
    return "alpaca" if known & set(row) else None


def chat_format_of(messages: Any) -> str:
    """Which of the two chat formats a list of messages has; sharegpt when it cannot be seen."""
    first = messages[0] if isinstance(messages, list) and messages else {}
    return "openai" if isinstance(first, dict) and "role" in first else "sharegpt"


def roles_of(dataset_format: str, columns: Iterable[str]) -> dict[str, str]:
    """Which column plays which role, as `columns` of dataset_info.json names them."""
    present = set(columns)
    wanted = (_ALPACA_ROLES if dataset_format == "alpaca" else _CHAT_ROLES) | _COMMON_ROLES
    roles: dict[str, str] = {}
    for role, names in wanted.items():
        found = next((name for name in names if name in present), None)
        if found is not None:
            roles[role] = found
    return roles


def dataset_entry(file_name: str, dataset_format: str, columns: Iterable[str]) -> dict[str, Any]:
    """The entry of dataset_info.json for a checked file with these columns.

    Messages in OpenAI's words are declared as sharegpt with other tags, as LLaMA-Factory's own guide does: its
    converter named "openai" adds a sentence to the system prompt, and is needed only for tool calls.
    """
    roles = roles_of(dataset_format, columns)
    entry: dict[str, Any] = {"file_name": file_name, "columns": roles}
    if dataset_format != "alpaca":
        entry["formatting"] = (
            "openai" if dataset_format == "openai" and "tools" in roles else "sharegpt"
        )
        entry["tags"] = {f"{name}_tag": word for name, word in asdict(TAGS[dataset_format]).items()}
    if "chosen" in roles and "rejected" in roles:
        entry["ranking"] = True
    return entry


def missing_columns(
    dataset_format: str, roles: Mapping[str, str], columns: Iterable[str]
) -> str | None:
    """A sentence when the columns cannot make a training row of that format."""
    given = ", ".join(columns) or "none"
    if dataset_format == "alpaca":
        ranked = "chosen" in roles and "rejected" in roles
        if "prompt" not in roles:
            return f"there is no column 'instruction'; the columns are {given}"
        if not ranked and "response" not in roles and roles["prompt"] != "text":
            return f"there is no column 'output'; the columns are {given}"
        return None
    if "messages" not in roles:
        wanted = "conversations" if dataset_format == "sharegpt" else "messages"
        return f"there is no column '{wanted}'; the columns are {given}"
    return None


Found = tuple[str, str]
"""A field and what is wrong with it."""


def row_problems(
    dataset_format: str, roles: Mapping[str, str], row: Mapping[str, Any]
) -> Iterator[Found]:
    """What is wrong with one row."""
    if dataset_format == "alpaca":
        yield from alpaca_problems(roles, row)
    else:
        yield from chat_problems(dataset_format, roles, row)
    yield from common_problems(roles, row)


def alpaca_problems(roles: Mapping[str, str], row: Mapping[str, Any]) -> Iterator[Found]:
    """Prompt and response must be text; an empty second part of the prompt may be null."""
    yield from _text(row, roles["prompt"])
    if "query" in roles:
        yield from _text(row, roles["query"], optional=True)
    if "response" in roles:
        yield from _text(row, roles["response"], optional="chosen" in roles)
    for role in ("chosen", "rejected"):
        if "chosen" in roles and "rejected" in roles:
            yield from _text(row, roles[role])
    if "history" in roles:
        yield from history_problems(roles["history"], row.get(roles["history"]))


def history_problems(field: str, history: Any) -> Iterator[Found]:
    """Earlier turns are pairs of texts."""
    if history is None:
        return
    if not isinstance(history, list):
        yield field, f"expected a list of [question, answer] pairs, got {kind_of(history)}"
        return
    for index, turn in enumerate(history):
        if not (isinstance(turn, list) and [type(part) for part in turn] == [str, str]):
            yield (
                f"{field}[{index}]",
                f"expected two texts, [question, answer], got {kind_of(turn)}",
            )


def common_problems(roles: Mapping[str, str], row: Mapping[str, Any]) -> Iterator[Found]:
    """Columns that every format may have."""
    if "system" in roles:
        yield from _text(row, roles["system"], optional=True)
    if "kto_tag" in roles and not isinstance(row.get(roles["kto_tag"]), bool):
        yield roles["kto_tag"], f"expected true or false, got {kind_of(row.get(roles['kto_tag']))}"
    for role in ("images", "videos", "audios"):
        value = row.get(roles[role]) if role in roles else None
        if value is not None and not isinstance(value, list | str):
            yield roles[role], f"expected a list of file names, got {kind_of(value)}"


def chat_problems(
    dataset_format: str, roles: Mapping[str, str], row: Mapping[str, Any]
) -> Iterator[Found]:
    """Messages must have the format's words, take turns, and end with an answer."""
    field = roles["messages"]
    messages = row.get(field)
    if not isinstance(messages, list):
        yield field, f"expected a list of messages, got {kind_of(messages)}"
        return
    tags = TAGS[dataset_format]
    found = list(message_problems(field, tags, messages))
    yield from found or turn_problems(field, tags, messages, roles)
    if dataset_format == "sharegpt" and "tools" in roles:
        yield from _text(row, roles["tools"], optional=True)
    if "chosen" in roles and "rejected" in roles:
        for role in ("chosen", "rejected"):
            yield from _answer(roles[role], tags, row.get(roles[role]))


def message_problems(field: str, tags: Tags, messages: Sequence[Any]) -> Iterator[Found]:
    """Each message must be an object with a known role and a text."""
    allowed = [tags.user, tags.assistant, tags.observation, tags.function, tags.system]
    for index, message in enumerate(messages):
        place = f"{field}[{index}]"
        if not isinstance(message, dict):
            yield (
                place,
                f"expected an object with '{tags.role}' and '{tags.content}', got {kind_of(message)}",
            )
            continue
        role, content = message.get(tags.role), message.get(tags.content)
        if role not in allowed:
            yield f"{place}.{tags.role}", f"expected one of {', '.join(allowed)}, got {given(role)}"
        elif not isinstance(content, str) and not message.get("tool_calls"):
            yield f"{place}.{tags.content}", f"expected text, got {kind_of(content)}"


def turn_problems(
    field: str, tags: Tags, messages: Sequence[Mapping[str, Any]], roles: Mapping[str, str]
) -> Iterator[Found]:
    """After an optional system message: question, answer, question, answer ..., with an answer at the end."""
    called = next((index for index, one in enumerate(messages) if one.get("tool_calls")), None)
    if called is not None and "tools" not in roles:
        yield f"{field}[{called}].tool_calls", "a tool call needs a column 'tools' in the rows"
        return
    turns = turns_of(tags, messages, merge=tags is TAGS["openai"] and "tools" in roles)
    sides = ((tags.user, tags.observation), (tags.assistant, tags.function))
    for number, (place, role) in enumerate(turns):
        if role not in sides[number % 2]:
            expected = " or ".join(sides[number % 2])
            message = f"expected {expected} here, because the sides take turns, got {role}"
            yield f"{field}[{place}].{tags.role}", message
            return
    ranked = "chosen" in roles and "rejected" in roles
    if not turns or len(turns) % 2 != int(ranked):
        last = tags.user if ranked else tags.assistant
        yield (
            field,
            f"the conversation must end with a message of {last}; it has {len(turns)} turns",
        )


def turns_of(
    tags: Tags, messages: Sequence[Mapping[str, Any]], *, merge: bool
) -> list[tuple[int, str]]:
    """(index, role) of each turn, without the system message; tool answers in a row may count as one."""
    turns: list[tuple[int, str]] = []
    for index, message in enumerate(messages):
        role = message[tags.role]
        leading = index == 0 and role == tags.system
        repeated = merge and role == tags.observation and bool(turns) and turns[-1][1] == role
        if not leading and not repeated:
            turns.append((index, role))
    return turns


def _answer(field: str, tags: Tags, message: Any) -> Iterator[Found]:
    if not isinstance(message, dict):
        yield field, f"expected one message, an object, got {kind_of(message)}"
        return
    if message.get(tags.role) not in {tags.assistant, tags.function}:
        yield (
            f"{field}.{tags.role}",
            f"expected {tags.assistant}, got {given(message.get(tags.role))}",
        )
    if not isinstance(message.get(tags.content), str):
        yield f"{field}.{tags.content}", f"expected text, got {kind_of(message.get(tags.content))}"


def _text(row: Mapping[str, Any], field: str, *, optional: bool = False) -> Iterator[Found]:
    value = row.get(field)
    if isinstance(value, str) or (optional and value is None):
        return
    if field not in row:
        yield field, "expected text, but the row has no such field"
    else:
        yield field, f"expected text, got {kind_of(value)}"


def kind_of(value: Any) -> str:
    """What a JSON value is, in words, with short values shown."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"a number ({str(value)[:20]})"
    if isinstance(value, str):
        return f"text ({given(value)})"
    return "a list" if isinstance(value, list) else "an object"


def given(value: Any) -> str:
    """A value as somebody wrote it, short enough for a sentence."""
    if not isinstance(value, str):
        return kind_of(value) if value is not None else "nothing"
    return repr(value if len(value) <= 40 else f"{value[:37]}...")
