"""The Python `websockets` client against the built server: python3 peers.py SERVER-BINARY"""

import asyncio
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
import traceback

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

MAX_MESSAGE_SIZE = 65536
STARTUP_DEADLINE = 10
CHECK_DEADLINE = 30
OVERALL_DEADLINE = 240


class Server:
    """A server on loopback: `async with Server(binary, flags...) as server`. It does not outlive the block."""

    def __init__(self, binary, *flags):
        self.command = [binary, "--listen", "127.0.0.1:0", *flags]

    async def __aenter__(self):
        # Settings of whoever runs the tests are not the server's.
        environment = {
            name: value for name, value in os.environ.items()
            if name != "RUST_LOG" and not name.startswith("FANFARE_")
        }
        self.process = await asyncio.create_subprocess_exec(
            *self.command, env=environment,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(STARTUP_DEADLINE):
                self.host = await self.listening()
        except BaseException:
            await self.kill()
            raise
        self.log = asyncio.create_task(self.process.stderr.read())
        return self

    async def __aexit__(self, *_):
        await self.kill()
        await self.log

    async def listening(self):
        lines = []
        while line := (await self.process.stderr.readline()).decode():
            lines.append(line)
            if found := re.search(r"listening on http://([^/\s]+)/", line):
                return found[1]
        raise RuntimeError("the server ended at start:\n" + "".join(lines))

    async def kill(self):
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    def url(self, room=None):
        return f"ws://{self.host}/ws" + (f"/{room}" if room else "")


async def join(url, **options):
    """A client. It offers compression, as this library does by default, and never stops reading."""
    return await connect(url, proxy=None, ping_interval=None, max_queue=None, **options)


async def join_many(count, url):
    return await asyncio.gather(*(join(url) for _ in range(count)))


async def take(client, count):
    return [await client.recv() for _ in range(count)]


async def say_and_hear(speaker, listeners, label, count):
    """Says `count` things, each when the one before it was heard."""
    for number in range(count):
        await speaker.send(f"{label} {number}")
        for listener in listeners:
            assert await listener.recv() == f"{label} {number}"


async def leave(client, code=1000, reason=""):
    """Leaves, and answers the code of the Close frame that came back."""
    await client.close(code, reason)
    assert client.protocol.close_rcvd is not None, "no Close frame came back"
    return client.protocol.close_rcvd.code


async def leave_silently(*clients):
    """Everybody leaves; nobody has heard anything but what the check took."""
    assert await asyncio.gather(*map(leave, clients)) == [1000] * len(clients)
    for client in clients:
        try:
            unread = await client.recv()
        except ConnectionClosed:
            continue
        raise AssertionError(f"heard {unread[:40]!r} besides")


async def code_of_close(client):
    """The code that the server closes with."""
    try:
        unexpected = await client.recv()
    except ConnectionClosed as closed:
        assert closed.rcvd is not None, "the connection was lost without a Close frame"
        return closed.rcvd.code
    raise AssertionError(f"heard {unexpected[:40]!r} where a Close was expected")


async def refusal(url, **options):
    """The status of a refused opening handshake."""
    try:
        await join(url, **options)
    except InvalidStatus as refused:
        return refused.response.status_code
    raise AssertionError(f"{url} was accepted")


checks = []


def check(what, needs=None):
    """A check of what a server does, or one that has the feature that it needs."""
    def register(body):
        checks.append((what, needs, body))
        return body
    return register


@check("text and binary reach every client in the room, the sender too")
async def kinds(server):
    clients = await join_many(3, server.url("kinds"))
    for message in ["text", bytes([0, 255, 128]), ""]:
        await clients[0].send(message)
        for client in clients:
            assert await client.recv() == message
    await leave_silently(*clients)


@check("fragments are put together, with pings between them answered at once")
async def fragments(server):
    speaker, listener = await join_many(2, server.url("fragments"))
    pieces = [f"piece {number};" for number in range(100)]

    async def pieces_and_pings():
        for number, piece in enumerate(pieces):
            yield piece
            if number % 10 == 0:
                await (await speaker.ping(f"between {number}"))

    await speaker.send(pieces_and_pings())
    for client in (speaker, listener):
        assert await client.recv() == "".join(pieces)
    await leave_silently(speaker, listener)


@check("a text may be cut inside a character")
async def cuts(server):
    [client] = await join_many(1, server.url("cuts"))
    text = "één €uro 🎺 naïve"
    await client.send([bytes([byte]) for byte in text.encode()], text=True)
    assert await client.recv() == text
    await leave_silently(client)


@check("a message in 1,000 fragments of one byte arrives whole")
async def crumbs(server):
    speaker, listener = await join_many(2, server.url("crumbs"))
    data = bytes(number % 251 for number in range(1000))
    await speaker.send([bytes([byte]) for byte in data])
    for client in (speaker, listener):
        assert await client.recv() == data
    await leave_silently(speaker, listener)


@check(f"messages of 1 to {MAX_MESSAGE_SIZE} bytes arrive whole")
async def sizes(server):
    speaker, listener = await join_many(2, server.url("sizes"))
    for size in [1, 2, 3, 4, 7, 8, 124, 125, 126, 127, 128, 1000, 4096, 65534, 65535, MAX_MESSAGE_SIZE]:
        data = os.urandom(size)
        await speaker.send(data)
        for client in (speaker, listener):
            assert await client.recv() == data, f"{size} bytes"
    await leave_silently(speaker, listener)


@check("one byte more than allowed, in one frame, is closed with 1009")
async def too_big(server):
    speaker, listener = await join_many(2, server.url("too-big"))
    try:
        await speaker.send(bytes(MAX_MESSAGE_SIZE + 1))
    except ConnectionClosed:
        pass  # The server may have closed before all of it was written.
    assert await code_of_close(speaker) == 1009
    await say_and_hear(listener, [listener], "unharmed", 1)
    await leave_silently(listener)


@check("one byte more than allowed, in fragments, is closed with 1009")
async def too_big_in_fragments(server):
    speaker, listener = await join_many(2, server.url("too-big"))
    try:
        await speaker.send([bytes(40_000), bytes(MAX_MESSAGE_SIZE + 1 - 40_000)])
    except ConnectionClosed:
        pass
    assert await code_of_close(speaker) == 1009
    await say_and_hear(listener, [listener], "unharmed", 1)
    await leave_silently(listener)


@check("text of many alphabets, up to the last byte allowed")
async def alphabets(server):
    speaker, listener = await join_many(2, server.url("alphabets"))
    for text in [
        "Grüße, Jürgen", "Ελληνικά", "Кириллица", "日本語のテキスト", "👩‍👩‍👧‍👦🎺",
        "\x00\x7f\x80\u07ff\u0800\uffff\U00010000\U0010ffff",
        "€" * (MAX_MESSAGE_SIZE // 3) + "x",
    ]:
        await speaker.send(text)
        for client in (speaker, listener):
            assert await client.recv() == text
    await leave_silently(speaker, listener)


@check("200 clients in one room each hear every message of 5 senders, in one order")
async def crowd(server):
    clients = await join_many(200, server.url("crowd"))
    senders, each = 5, 40

    async def speak(sender):
        for number in range(each):
            await clients[sender].send(f"{sender}:{number}")

    heard = asyncio.gather(*(take(client, senders * each) for client in clients))
    await asyncio.gather(*map(speak, range(senders)))
    first, *others = await heard
    for sender in range(senders):
        assert [text for text in first if text.startswith(f"{sender}:")] == [f"{sender}:{n}" for n in range(each)]
    assert all(other == first for other in others)
    await leave_silently(*clients)


@check("20 rooms at once keep what is theirs")
async def rooms(server):
    rooms = await asyncio.gather(*(join_many(3, server.url(f"room-{room}")) for room in range(20)))
    each = 20
    for number in range(each):
        for room, clients in enumerate(rooms):
            await clients[number % 3].send(f"{room}:{number}")
    for room, clients in enumerate(rooms):
        expected = {f"{room}:{number}" for number in range(each)}
        for client in clients:
            assert set(await take(client, each)) == expected
        await leave_silently(*clients)


async def departs(server, goodbye):
    leaver, speaker, listener = await join_many(3, server.url("departures"))
    await say_and_hear(speaker, [leaver, speaker, listener], "before", 10)

    async def go_on():
        for number in range(50):
            await speaker.send(f"during {number}")
        return await asyncio.gather(take(speaker, 50), take(listener, 50))

    heard, _ = await asyncio.gather(go_on(), goodbye(leaver))
    assert heard == [[f"during {number}" for number in range(50)]] * 2
    await say_and_hear(speaker, [speaker, listener], "after", 10)
    await leave_silently(speaker, listener)


@check("a client leaves with 1000; the others hear everything")
async def leaves_normally(server):
    async def goodbye(client):
        assert await leave(client) == 1000
    await departs(server, goodbye)


@check("a client leaves with 4000 and a reason; the others hear everything")
async def leaves_with_a_code(server):
    async def goodbye(client):
        assert await leave(client, 4000, "done here") == 4000
    await departs(server, goodbye)


@check("a client leaves without a word; the others hear everything")
async def leaves_without_a_word(server):
    async def goodbye(client):
        client.transport.abort()
        await client.wait_closed()
    await departs(server, goodbye)


@check("a client leaves by a reset; the others hear everything")
async def leaves_by_a_reset(server):
    async def goodbye(client):
        # Lingering for no time at all turns the close into a reset.
        linger = struct.pack("ii", 1, 0)
        client.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        client.transport.abort()
        await client.wait_closed()
    await departs(server, goodbye)


@check("a ping is answered with its payload")
async def pings(server):
    [client] = await join_many(1, server.url("pings"))
    for payload in [b"", b"a", b"p" * 125]:
        # Done when a pong with this payload has come, and by no other.
        await (await client.ping(payload))
    await leave_silently(client)


@check("an offered compression is declined, up to the largest message and beyond")
async def compression(server):
    client = await join(server.url("plain"), compression="deflate")
    assert "permessage-deflate" in client.request.headers["Sec-WebSocket-Extensions"]
    assert "Sec-WebSocket-Extensions" not in client.response.headers
    assert client.protocol.extensions == []
    message = "x" * MAX_MESSAGE_SIZE  # compressed, this would be some 80 bytes
    await client.send(message)
    assert await client.recv() == message
    try:
        await client.send(message + "x")
    except ConnectionClosed:
        pass
    assert await code_of_close(client) == 1009


@check("the server's own origin may connect, and a client without one")
async def own_origin(server):
    same, none = await join(server.url("origins"), origin=f"http://{server.host}"), await join(server.url("origins"))
    await say_and_hear(same, [same, none], "both", 1)
    await leave_silently(same, none)


@check("another origin is refused with 403")
async def other_origin(server):
    assert await refusal(server.url(), origin="https://elsewhere.example") == 403
    assert await refusal(server.url(), origin="null") == 403


@check("an unknown path is refused with 404")
async def unknown_path(server):
    assert await refusal(f"ws://{server.host}/nowhere") == 404
    assert await refusal(f"ws://{server.host}/wsx") == 404


@check("of the subprotocols offered, the server's favourite is chosen, or none")
async def subprotocols(server):
    async with Server(server.command[0], "--subprotocol", "second", "--subprotocol", "first") as choosy:
        both = await join(choosy.url(), subprotocols=["first", "second"])
        assert both.subprotocol == "second"
        neither = await join(choosy.url(), subprotocols=["third"])
        assert neither.subprotocol is None
        await leave_silently(both, neither)


@check("with --no-echo the others hear a message and its sender does not")
async def no_echo(server):
    async with Server(server.command[0], "--no-echo") as silent:
        one, two = await join_many(2, silent.url())
        await one.send("from one")
        assert await two.recv() == "from one"
        await two.send("from two")
        assert await one.recv() == "from two"
        await leave_silently(one, two)


README = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../README.md")


def readme_program(language):
    """The program that README shows for minting a ticket: it reads ticket.key and prints one for news/today."""
    with open(README, encoding="utf-8") as readme:
        found = re.search(rf"<!-- ticket: {language} -->\n```\w+\n(.*?)```", readme.read(), re.DOTALL)
    return found[1]


async def minted(folder, *command):
    """What a program of README prints, run where its key is."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0, f"{command[0]} ended with {process.returncode}"
    return printed.decode().rstrip("\n")


@check("tickets minted as README shows, in Python and in shell, let in who listens alone", needs="auth")
async def tickets(server):
    with tempfile.TemporaryDirectory() as folder:
        key = os.path.join(folder, "ticket.key")
        with open(key, "wb") as file:
            subprocess.run(["openssl", "rand", "-base64", "48"], stdout=file, check=True)
        async with Server(server.command[0], "--ticket-key", key) as guarded:
            room, program = guarded.url("news/today"), readme_program
            for command in [
                (sys.executable, "-c", program("python")), ("sh", "-c", program("shell")),
            ]:
                ticket = await minted(folder, *command)
                by_header = await join(room, additional_headers={"Authorization": f"Bearer {ticket}"})
                by_subprotocol = await join(room, subprotocols=["bearer", ticket])
                assert by_subprotocol.subprotocol == "bearer"
                await by_header.send("a listener speaks")
                assert await code_of_close(by_header) == 1008
                assert by_header.protocol.close_rcvd.reason == "publishing is not allowed here"
                await leave_silently(by_subprotocol)
                assert await refusal(room) == 401
                forged = ticket.replace("subscribe", "both")
                assert await refusal(room, subprotocols=["bearer", forged]) == 401
                assert await refusal(guarded.url("news"), subprotocols=["bearer", ticket]) == 403


@check("who is not let in can be told by a Close", needs="auth")
async def rejected_by_close(server):
    with tempfile.TemporaryDirectory() as folder:
        key = os.path.join(folder, "ticket.key")
        with open(key, "w", encoding="ascii") as file:
            file.write("k" * 32)
        async with Server(server.command[0], "--ticket-key", key, "--reject-with", "close") as guarded:
            for options in [{}, {"subprotocols": ["bearer", "nonsense"]}]:
                client = await join(guarded.url(), **options)
                assert await code_of_close(client) == 1008


@check("a SIGTERM closes every client with 1001 and ends the server with 0")
async def sigterm(server):
    clients = await join_many(50, server.url()) + await join_many(50, server.url("last"))
    server.process.terminate()
    codes = await asyncio.gather(*map(code_of_close, clients))
    assert codes == [1001] * len(clients)
    assert await server.process.wait() == 0


async def passes(what, body, server):
    try:
        async with asyncio.timeout(CHECK_DEADLINE):
            await body(server)
    except Exception:
        print(f"FAIL  {what}\n{traceback.format_exc()}", flush=True)
        return False
    print(f"ok    {what}", flush=True)
    return True


async def run(binary):
    """The numbers of checks that passed, failed and did not apply. One server serves them; the last check ends it."""
    version = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    features = re.search(r"^features: (.*)$", version, re.MULTILINE)[1].split(",")
    passed = skipped = 0
    try:
        async with asyncio.timeout(OVERALL_DEADLINE), Server(binary) as server:
            for what, needs, body in checks:
                if needs is not None and needs not in features:
                    print(f"skip  {what}: built without {needs}")
                    skipped += 1
                    continue
                passed += await passes(what, body, server)
    except TimeoutError:
        print(f"FAIL  all of it within {OVERALL_DEADLINE} s")
    return passed, len(checks) - passed - skipped, skipped


def main():
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} SERVER-BINARY")
    passed, failed, skipped = asyncio.run(run(os.path.abspath(sys.argv[1])))
    print(f"clients/python: {passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    sys.exit(1 if failed else 0)


main()
