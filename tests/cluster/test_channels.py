"""Channels: large data past the head's socket, and by that if there is no other way."""

from __future__ import annotations

import os
import random
import socket
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import zmq

from cluster.commands import PATIENCE, until
from polyexec_zmq import _channel
from polyexec_zmq import _wire as wire
from polyexec_zmq._bulk import CHUNK_BYTES
from polyexec_zmq._channel import Channel, Channels
from polyexec_zmq._exchange import Exchange
from polyexec_zmq._relay import Relay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cluster.commands import Commands

NODE, PROGRAM = 1, 2
SIZE = 20 * CHUNK_BYTES + 5


class End:
    """A member with channels, whose line the test carries by hand."""

    def __init__(self, number: int, relay: str | None) -> None:
        self.number = number
        self.context: zmq.Context[Any] = zmq.Context()
        self.poller = zmq.Poller()
        self.channels = Channels(self.context, self.poller, "127.0.0.1")
        self.sent: list[list[Any]] = []
        self.exchange = Exchange(self.sent.append, self.channels, offers=number == NODE)
        self.exchange.welcomed({"relay": relay})
        self.got: list[bytes] = []

    def pull(self, other: End, data: bytes) -> None:
        """Ask *other* for *data*."""
        self.exchange.incoming.pull(
            other.number,
            other.exchange.keep([memoryview(data)], self.number),
            lambda sizes: [memoryview(bytearray(size)) for size in sizes],
            lambda pieces: self.got.append(b"".join(pieces)),
            self.got.append,  # type: ignore[arg-type]  # which is not called
        )

    @property
    def channel(self) -> Channel | None:
        """Its channel, if it has one."""
        return next(iter(self.channels._by_peer.values()), None)

    @property
    def is_up(self) -> bool:
        """Whether its channel is of use."""
        return self.channel is not None and self.channel.up

    def step(self) -> None:
        """See to what comes by its channel."""
        self.channels.step(dict(self.poller.poll(1)))
        self.exchange.flush()

    def close(self) -> None:
        """Let go of all."""
        self.channels.end()
        self.context.term()


class Pair:
    """A node and a program, with a head that has a relay between them."""

    def __init__(self, relay: Relay | None, address: str | None) -> None:
        self.relay = relay
        self.node, self.program = End(NODE, address), End(PROGRAM, address)
        #: How many letters of which kinds went by the line.
        self.by_line: dict[int, int] = {}
        self.channels: list[dict[str, Any]] = []

    def step(self) -> None:
        """Carry all there is."""
        for end, other in ((self.node, self.program), (self.program, self.node)):
            end.step()
            letters, end.sent[:] = list(end.sent), []
            for letter in letters:
                self._carry(end, other, letter)

    def _carry(self, end: End, other: End, letter: list[Any]) -> None:
        kind, _, number = wire.HEAD.unpack(letter[0])
        self.by_line[kind] = self.by_line.get(kind, 0) + 1
        if kind == wire.CHANNEL and end is self.node:
            about = wire.from_json(letter[1])
            self.channels.append(about)
            meeting = 7 if self.relay is None else self.relay.expect((NODE, PROGRAM))
            letter = [letter[0], wire.to_json({**about, "number": meeting})]
        other.exchange.take(kind, end.number, number, letter)

    def until(self, happened: Callable[[], Any]) -> None:
        """Carry until that has happened."""

        def one_more() -> Any:
            self.step()
            return happened()

        until(one_more)

    def has_got(self, count: int) -> bool:
        """Return whether the program has got so many."""
        return len(self.program.got) >= count

    def open(self) -> None:
        """Have them have a channel."""
        self.node.channels.want(PROGRAM, SIZE)
        self.until(lambda: self.node.is_up and self.program.is_up)
        self.by_line.clear()

    def close(self) -> None:
        """Let go of all."""
        self.node.close()
        self.program.close()


@pytest.fixture
def relay() -> Iterator[Relay]:
    """Return a relay."""
    relay = Relay("tcp://127.0.0.1:*")
    yield relay
    relay.close()


@pytest.fixture
def pair(relay: Relay) -> Iterator[Pair]:
    """Return two that may have a channel."""
    pair = Pair(relay, relay.address)
    yield pair
    pair.close()


def data_of(number: int) -> bytes:
    return bytes([number]) * (SIZE - 1) + b"!"


def test_data_goes_by_the_channel_once_there_is_one_both_ways(pair: Pair) -> None:
    pair.open()
    pair.program.pull(pair.node, data_of(1))
    pair.node.pull(pair.program, data_of(2))
    pair.until(lambda: pair.program.got and pair.node.got)
    assert (pair.program.got, pair.node.got) == ([data_of(1)], [data_of(2)])
    assert pair.by_line == {wire.DROP: 2}
    assert pair.relay is not None
    assert pair.relay.passed > 2 * SIZE


def test_what_begins_without_a_channel_goes_on_by_it(pair: Pair) -> None:
    pair.program.pull(pair.node, data_of(1))
    pair.until(lambda: pair.program.got)
    assert pair.program.got == [data_of(1)]
    pair.until(lambda: pair.program.is_up)
    pair.by_line.clear()
    pair.program.pull(pair.node, data_of(2))
    pair.until(lambda: pair.program.got[1:])
    assert pair.by_line == {wire.DROP: 1}


def test_what_is_small_needs_no_channel(pair: Pair) -> None:
    pair.program.pull(pair.node, b"small")
    pair.node.pull(pair.program, b"as well")
    pair.until(lambda: pair.program.got and pair.node.got)
    assert wire.CHANNEL not in pair.by_line


def test_what_a_channel_swallows_as_it_ends_comes_by_the_line(pair: Pair) -> None:
    pair.open()
    pair.program.pull(pair.node, data_of(1))
    pair.node.pull(pair.program, data_of(2))
    assert pair.relay is not None
    before = pair.relay.passed
    pair.until(lambda: pair.relay is not None and pair.relay.passed > before + CHUNK_BYTES)
    pair.relay.part(NODE)
    pair.until(lambda: pair.program.got and pair.node.got)
    assert (pair.program.got, pair.node.got) == ([data_of(1)], [data_of(2)])
    pair.until(lambda: pair.program.channel is None and pair.node.channel is None)
    assert not pair.relay.count


def test_without_a_relay_all_goes_by_the_line() -> None:
    pair = Pair(None, None)
    pair.program.pull(pair.node, data_of(1))
    pair.until(lambda: pair.program.got)
    assert wire.CHANNEL not in pair.by_line
    pair.close()


@pytest.mark.parametrize("answers", [True, False])
def test_a_relay_that_is_not_there_or_silent_is_done_without(
    monkeypatch: pytest.MonkeyPatch, *, answers: bool
) -> None:
    monkeypatch.setattr(_channel, "_MEETING", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        if not answers:
            server.close()
        pair = Pair(None, address)
        pair.program.pull(pair.node, data_of(1))
        pair.until(lambda: pair.program.got)
        assert pair.program.got == [data_of(1)]
        assert len(pair.channels) == 1
        pair.until(lambda: pair.program.channel is None and pair.node.channel is None)
        pair.program.pull(pair.node, data_of(2))
        pair.until(lambda: pair.program.got[1:])
        assert len(pair.channels) == 1, "it is not tried again at once"
        pair.close()


@pytest.mark.parametrize("who", [NODE, PROGRAM])
def test_who_has_the_number_but_not_the_key_is_not_heard(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, who: int
) -> None:
    monkeypatch.setattr(_channel, "_MEETING", 1.0)
    wrong = zmq.curve_keypair()[0].decode()
    carry = pair._carry

    def with_a_wrong_key(end: End, other: End, letter: list[Any]) -> None:
        if letter[0][0] == wire.CHANNEL and end.number == who:
            letter = [letter[0], wire.to_json({**wire.from_json(letter[1]), "key": wrong})]
        carry(end, other, letter)

    monkeypatch.setattr(pair, "_carry", with_a_wrong_key)
    pair.node.channels.want(PROGRAM, SIZE)
    pair.until(lambda: pair.node.channel is not None)
    pair.until(lambda: pair.node.channel is None and pair.program.channel is None)
    pair.program.pull(pair.node, data_of(1))
    pair.until(lambda: pair.program.got)
    assert wire.CHUNK in pair.by_line


def test_a_channel_that_a_program_has_not_seen_end_makes_room_for_the_next(pair: Pair) -> None:
    pair.open()
    (channel,) = pair.node.channels._by_peer.values()
    pair.node.channels._lose(PROGRAM, channel)
    pair.node.channels._tried.clear()
    former = pair.program.channel
    pair.node.channels.want(PROGRAM, SIZE)
    pair.until(lambda: pair.program.channel is not former and pair.node.is_up)
    pair.until(lambda: pair.program.is_up)
    pair.program.pull(pair.node, data_of(1))
    pair.until(lambda: pair.program.got)
    assert wire.CHUNK not in pair.by_line


def test_sessions_of_the_line_may_follow_each_other(pair: Pair) -> None:
    for number in range(3):
        pair.open()
        pair.node.channels.clear()
        pair.program.channels.clear()
        pair.program.pull(pair.node, data_of(number))
        pair.until(partial(pair.has_got, number + 1))
    assert pair.program.got == [data_of(number) for number in range(3)]


def test_a_channel_that_can_not_be_had_is_done_without(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    pair.program.exchange.welcomed({"relay": "no such host at all:1"})
    pair.program.pull(pair.node, data_of(1))
    pair.until(lambda: pair.program.got)
    assert "large data goes by the line, for it can have no channel" in caplog.text


@pytest.mark.parametrize("seed", range(4))
def test_whatever_becomes_of_channels_all_data_arrives_once(
    pair: Pair, relay: Relay, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(_channel, "_PAUSE", 0.0)
    chance = random.Random(seed)
    ends = pair.node, pair.program
    wanted: dict[int, list[bytes]] = {NODE: [], PROGRAM: []}

    def session_ends(end: End) -> None:
        """Have the line of one be cut: then both ask again."""
        end.channels.clear()
        for each in ends:
            each.exchange.incoming.resume()

    for number in range(60):
        end, other = chance.sample(ends, 2)
        data = chance.randbytes(chance.choice([3, CHUNK_BYTES, 3 * CHUNK_BYTES + 7]))
        wanted[end.number].append(data)
        end.pull(other, data)
        for _ in range(chance.randrange(6)):
            pair.step()
        if number % 5 == 0:
            chance.choice([partial(relay.part, NODE), partial(session_ends, end)])()
    pair.until(lambda: all(len(end.got) == len(wanted[end.number]) for end in ends))
    for end in ends:
        assert sorted(end.got) == sorted(wanted[end.number])
        assert end.exchange.incoming._awaited == 0
        assert not end.exchange.incoming._wanting
        assert not end.exchange.incoming._pulls
    pair.until(lambda: all(end.exchange.outgoing.is_empty for end in ends))
    assert relay.passed > CHUNK_BYTES


def test_an_end_that_speaks_nonsense_is_parted_with(pair: Pair) -> None:
    pair.open()
    assert pair.program.channel is not None
    pair.program.channel.send([b"nonsense"])
    pair.until(lambda: pair.node.channel is None)
    pair.until(lambda: pair.program.channel is None)


def test_a_channel_that_nobody_uses_is_closed(
    pair: Pair, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.open()
    monkeypatch.setattr(_channel, "_IDLE", 0.1)
    pair.until(lambda: pair.program.channel is None and pair.node.channel is None)
    until(lambda: not relay.count)


def echo(data: bytes) -> bytes:
    return data


@pytest.fixture
def secured(commands: Commands) -> Commands:
    """Return a cluster with keys and a relay."""
    commands.head("--bulk", "tcp://127.0.0.1:*")
    commands.node()
    return commands


def test_a_cluster_with_a_relay_sends_large_data_by_it(secured: Commands) -> None:
    with secured.context() as context, context.Executor(2) as executor:
        data = data_of(3)
        for _ in range(3):
            assert executor.submit(echo, data).result(PATIENCE) == data
        channels = secured.status()["channels"]
        assert channels["open"] == 1
        assert channels["bytes"] > 2 * len(data)
        shown = secured.ask("status").stdout
        assert "channels: 1, MB through them: " in shown
    until(lambda: secured.status()["channels"]["open"] == 0)


@pytest.mark.parametrize("relay", [(), ("--bulk", "tcp://127.0.0.1:*")])
def test_what_a_node_gives_back_another_can_run_with_all_its_data(
    commands: Commands, relay: tuple[str, ...], tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    commands.head(*relay)
    commands.node("--workers", "1", "--name", "a")
    commands.node("--workers", "1", "--name", "b")
    with commands.context() as context, context.Executor(2) as executor:
        for size in (100, 300_000):  # so that many are sent at a time
            assert list(executor.map(len, [bytes(size)] * 300, chunksize=1)) == [size] * 300
        stuck = executor.submit(gate.read_text)
        futures = [executor.submit(echo, bytes(300_000 + number)) for number in range(60)]
        for number, future in enumerate(futures):
            assert len(future.result(PATIENCE)) == 300_000 + number
        gate.write_text("go on")
        assert stuck.result(PATIENCE) == "go on"


def test_a_head_without_one_has_no_channels(commands: Commands) -> None:
    commands.head()
    assert commands.status()["channels"] is None
    assert "channels" not in commands.ask("status").stdout


def test_who_loses_its_key_loses_its_channels(secured: Commands) -> None:
    file = secured.add_key("guest")
    guest = secured.node("--name", "guest", file=file)
    with secured.context() as context, context.Executor(4) as executor:
        data = data_of(4)
        assert all(
            result == data
            for result in executor.map(echo, [data] * 12, chunksize=1, timeout=PATIENCE)
        )
        until(lambda: secured.status()["channels"]["open"] == 2)
        done = secured.run("keys", "revoke", "guest", "--state", str(secured.state))
        assert done.returncode == 0, done.stderr
        until(lambda: secured.status()["channels"]["open"] == 1)
        assert executor.submit(echo, data).result(PATIENCE) == data
    assert guest.exit_code() != 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--insecure",), "a head without keys has no --bulk"),
        ((), "is no address to listen at, as in tcp://0.0.0.0:5556"),
    ],
)
def test_a_relay_that_can_not_be_is_refused(
    commands: Commands, arguments: tuple[str, ...], complaint: str
) -> None:
    state = () if arguments else ("--state", str(commands.state))
    done = commands.run(
        "head", "--bind", "tcp://127.0.0.1:*", "--bulk", "udp://x", *arguments, *state
    )
    assert done.returncode == 1
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr
