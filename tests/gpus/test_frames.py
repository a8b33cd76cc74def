"""Frames: whole or not at all, within the time that they are given."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator

import pytest

from gpus.frames import LARGEST_FRAME, Channel, ChannelClosed


@pytest.fixture
def ends() -> Iterator[tuple[Channel, socket.socket]]:
    ours, theirs = socket.socketpair()
    yield Channel(ours), theirs
    ours.close()
    theirs.close()


def test_frames_arrive_as_they_were_sent(ends):
    channel, other = ends
    Channel(other).send({"card": [1, None, "é"]})
    Channel(other).send({"end": True})

    assert channel.receive(1.0) == {"card": [1, None, "é"]}
    assert channel.receive(1.0) == {"end": True}


def test_half_a_frame_waits_for_the_rest(ends):
    channel, other = ends
    other.sendall(struct.pack("!I", 2) + b"{")
    assert channel.receive(0.0) is None

    other.sendall(b"}")
    assert channel.receive(1.0) == {}


def test_waiting_ends_with_patience(ends):
    channel, _ = ends
    begun = time.monotonic()

    assert channel.receive(0.05) is None
    assert time.monotonic() - begun < 1.0


def test_the_other_side_closing_is_noticed(ends):
    channel, other = ends
    other.close()

    with pytest.raises(ChannelClosed):
        channel.receive(1.0)
    with pytest.raises(ChannelClosed):
        channel.send({})


def test_a_reader_that_takes_nothing_does_not_block_the_writer(ends):
    channel, _ = ends

    with pytest.raises(ChannelClosed):
        channel.send({"holdings": "x" * 2**23}, patience=0.05)


def test_a_frame_beyond_all_measure_is_refused(ends):
    channel, other = ends
    other.sendall(struct.pack("!I", LARGEST_FRAME + 1))

    with pytest.raises(ChannelClosed, match="more than"):
        channel.receive(1.0)
