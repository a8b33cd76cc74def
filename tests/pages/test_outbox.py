"""One socket's outbox: newest value only, changes first, and a reader that takes nothing is dropped."""

from __future__ import annotations

import asyncio
import json

import pytest

from jobs import outbox
from jobs.outbox import WINDOW, Outbox, SlowReader


class Reader:
    """What arrived; can be made to hang."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.hangs = False

    async def send(self, text: str) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        self.texts.append(text)


@pytest.fixture
def reader():
    return Reader()


@pytest.fixture
async def box(reader):
    box = Outbox(reader.send)
    task = asyncio.create_task(box.run())
    box.task = task
    yield box
    task.cancel()


async def settle() -> None:
    for _turn in range(10):
        await asyncio.sleep(0)


async def test_only_the_newest_value_of_a_slot_is_sent(reader, box):
    for number in range(100):
        box.put("readings", str(number))
    await settle()
    assert reader.texts == ["99"]


async def test_changes_are_gathered_and_go_first(reader, box):
    box.put("readings", "tick")
    box.add_changes(["b"], 7)
    box.add_changes(["a"], 9)
    await settle()
    assert json.loads(reader.texts[0]) == {"k": "changed", "jobs": ["a", "b"], "event": 9}
    assert reader.texts[1] == "tick"


async def test_a_change_of_jobs_one_may_not_see_is_told_without_them(reader, box):
    box.add_changes([], 3)
    await settle()
    assert json.loads(reader.texts[0])["jobs"] == []


async def test_no_more_than_a_window_is_sent_ahead_of_the_reader(reader, box):
    for number in range(3 * WINDOW):
        box.put("readings", str(number))
        await settle()
    assert len(reader.texts) == WINDOW
    box.acknowledge(WINDOW)
    await settle()
    assert reader.texts[-1] == str(3 * WINDOW - 1)
    assert len(reader.texts) == WINDOW + 1


async def test_a_reader_that_acknowledges_nothing_is_dropped(reader, box, monkeypatch):
    monkeypatch.setattr(outbox, "SLOW_AFTER", 0.05)
    for number in range(WINDOW + 1):
        box.put("readings", str(number))
        await settle()
    with pytest.raises(SlowReader):
        await asyncio.wait_for(box.task, 5)


async def test_new_values_do_not_pass_for_a_sign_of_life(reader, box, monkeypatch):
    monkeypatch.setattr(outbox, "SLOW_AFTER", 0.2)

    async def tick():
        while True:
            box.put("readings", "again")
            await asyncio.sleep(0.01)

    ticking = asyncio.create_task(tick())
    with pytest.raises(SlowReader):
        await asyncio.wait_for(box.task, 5)
    ticking.cancel()


async def test_a_send_that_hangs_drops_the_reader(reader, box, monkeypatch):
    monkeypatch.setattr(outbox, "SLOW_AFTER", 0.05)
    reader.hangs = True
    box.put("readings", "tick")
    with pytest.raises(SlowReader):
        await asyncio.wait_for(box.task, 5)
