"""TLS clients against a server that was built with --features tls: python3 peers.py SERVER-BINARY"""

import asyncio
import os
import re
import resource
import selectors
import shutil
import signal
import socket
import ssl
import sys
import tempfile
import time
import traceback

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidMessage

STARTUP_DEADLINE = 10
CHECK_DEADLINE = 40
OVERALL_DEADLINE = 240
MIB = 1024 * 1024
CONNECTS = 1000
IDLE = 1000

CERTIFICATES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "certificates")

UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def file(name):
    return os.path.join(CERTIFICATES, name)


def pair(name):
    return ["--tls-cert", file(f"{name}.pem"), "--tls-key", file(f"{name}.key")]


def trust(ca="ca", version=None, certificate=None):
    """What a client trusts, speaks and shows."""
    context = ssl.create_default_context(cafile=file(f"{ca}.pem"))
    if version is not None:
        context.minimum_version = context.maximum_version = version
    if certificate is not None:
        context.load_cert_chain(file(f"{certificate}.pem"), file(f"{certificate}.key"))
    return context


class Server:
    """A server on loopback: `async with Server(binary, flags...) as server`. It does not outlive the block."""

    def __init__(self, binary, *flags):
        self.command = [binary, "--listen", "127.0.0.1:0", "-v", *flags]
        self.lines = []
        self.news = asyncio.Event()

    async def __aenter__(self):
        environment = {
            name: value for name, value in os.environ.items()
            if name != "RUST_LOG" and not name.startswith("FANFARE_")
        }
        self.process = await asyncio.create_subprocess_exec(
            *self.command, env=environment,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )
        self.reader = asyncio.create_task(self.read())
        try:
            async with asyncio.timeout(STARTUP_DEADLINE):
                found = await self.line(r"listening on (https?)://([^/\s:]+):(\d+)/")
        except BaseException:
            await self.kill()
            raise
        self.scheme, self.host, self.port = found[1], found[2], int(found[3])
        return self

    async def __aexit__(self, *_):
        await self.kill()
        await self.reader

    async def read(self):
        while line := (await self.process.stderr.readline()).decode():
            self.lines.append(line)
            self.news.set()
        self.lines.append(None)
        self.news.set()

    async def line(self, pattern, count=1):
        """Waits for so many lines of the log like this; returns the last one's match."""
        while True:
            self.news.clear()
            found = [match for line in self.lines if line and (match := re.search(pattern, line))]
            if len(found) >= count:
                return found[-1]
            if self.lines and self.lines[-1] is None:
                raise RuntimeError(f"the server ended without '{pattern}':\n" + "".join(filter(None, self.lines)))
            await self.news.wait()

    async def kill(self):
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    def url(self, room=None):
        return f"wss://localhost:{self.port}/ws" + (f"/{room}" if room else "")

    def memory(self):
        """The anonymous memory of the process, in bytes."""
        with open(f"/proc/{self.process.pid}/status") as status:
            return 1024 * int(re.search(r"RssAnon:\s+(\d+)", status.read())[1])

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


async def join(server, room=None, context=None, **options):
    return await connect(
        server.url(room), ssl=context or trust(), host="127.0.0.1", port=server.port, proxy=None,
        ping_interval=None, max_queue=None, compression=None, **options,
    )


async def say_and_hear(speaker, listeners, text):
    await speaker.send(text)
    for listener in listeners:
        assert await listener.recv() == text


async def still_serves(server, **options):
    client = await join(server, "probe", **options)
    await say_and_hear(client, [client], "still there?")
    await client.close()


def percentile(values, part):
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def raw(port):
    stream = socket.create_connection(("127.0.0.1", port), timeout=CHECK_DEADLINE)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return stream


def read_to_end(stream):
    heard = b""
    while some := stream.recv(65536):
        heard += some
    return heard


def client_hello(context=None):
    """The first bytes that a client says, and the client that has said them."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = (context or trust()).wrap_bio(incoming, outgoing, server_hostname="localhost")
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read(), client, incoming, outgoing


checks = []


def check(what):
    def register(body):
        checks.append((what, body))
        return body
    return register


@check("websockets over wss, TLS 1.2 and 1.3: text, 1 MiB, pings, close codes")
async def talk(binary):
    sizes = ["--max-message-size", "1M", "--max-client-buffer", "8M"]
    async with Server(binary, *pair("server"), *sizes) as server:
        assert server.scheme == "https", "the log names another scheme"
        versions = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
        clients = [await join(server, context=trust(version=version)) for version in versions]
        names = [client.transport.get_extra_info("ssl_object").version() for client in clients]
        assert names == ["TLSv1.2", "TLSv1.3"], names
        big = os.urandom(MIB)
        for speaker in clients:
            for message in ["text", "", b"\0\xff", big]:
                await say_and_hear(speaker, clients, message)
            await (await speaker.ping(b"p" * 125))
        await clients[0].close(4000, "done here")
        assert clients[0].protocol.close_rcvd.code == 4000
        await server.line(r"cause=closed .*with 4000")
        try:
            await clients[1].send(bytes(MIB + 1))
            await clients[1].recv()
        except ConnectionClosed as closed:
            assert closed.rcvd and closed.rcvd.code == 1009, closed
        last = await join(server)
        server.process.terminate()
        try:
            await last.recv()
        except ConnectionClosed as closed:
            assert closed.rcvd and closed.rcvd.code == 1001, closed
        assert await server.process.wait() == 0


async def s_client(server, *options):
    """What `openssl s_client` says of the server, and its exit code."""
    process = await asyncio.create_subprocess_exec(
        "openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-servername", "localhost",
        "-verify_return_error", *options,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return output.decode(errors="replace"), process.returncode


@check("openssl s_client: TLS 1.2 and 1.3, ALPN http/1.1; TLS 1.1, h2 alone and another CA are refused")
async def openssl(binary):
    async with Server(binary, *pair("server")) as server:
        ca = ["-CAfile", file("ca.pem")]
        for option, name in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")]:
            said, code = await s_client(server, *ca, option, "-alpn", "h2,http/1.1")
            for part in [f"New, {name}", "ALPN protocol: http/1.1", "Verify return code: 0 (ok)"]:
                assert part in said and code == 0, f"no '{part}' in: {said}"
        said, code = await s_client(server, *ca, "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0")
        assert re.search(r"alert (protocol version|handshake failure)", said) and code != 0, said
        said, code = await s_client(server, *ca, "-alpn", "h2")
        assert "alert no application protocol" in said and code != 0, said
        said, code = await s_client(server, "-CAfile", file("other-ca.pem"))
        assert "verify error" in said and code != 0, said
        await still_serves(server)


@check("a client that trusts another CA goes away, and the server tells of a failed handshake")
async def wrong_ca(binary):
    def distrust(port):
        trust(ca="other-ca").wrap_socket(raw(port), server_hostname="localhost")

    async with Server(binary, *pair("server")) as server:
        for attempt in [join(server, context=trust(ca="other-ca")), asyncio.to_thread(distrust, server.port)]:
            try:
                await attempt
                raise AssertionError("it came in")
            except ssl.SSLCertVerificationError:
                pass
        # The first one may leave without a word.
        await server.line(r'tls handshake failed .*why="received fatal alert: UnknownCA"')
        await server.line(r"cause=refused .*TLS handshake failed")
        await still_serves(server)


@check("with --tls-client-ca a client needs a certificate, and the right one")
async def mutual(binary):
    async with Server(binary, *pair("server"), "--tls-client-ca", file("ca.pem")) as server:
        for version in [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]:
            await still_serves(server, context=trust(version=version, certificate="client"))
            for certificate in [None, "stranger"]:
                try:
                    await join(server, context=trust(version=version, certificate=certificate))
                    raise AssertionError(f"{certificate} came in")
                except (OSError, InvalidMessage) as refused:
                    assert not isinstance(refused, ssl.SSLCertVerificationError), refused
        await server.line(r"tls handshake failed", 4)
        assert not any(line and "messages_in=1" in line and "refused" in line for line in server.lines)


@check("a plain client at a TLS port is told by an alert, a TLS client at a plain port by a 400")
async def mixed_up(binary):
    def plain(port):
        with raw(port) as stream:
            stream.sendall(UPGRADE)
            return read_to_end(stream)

    def secure(port):
        with raw(port) as stream:
            stream.sendall(client_hello()[0])
            return read_to_end(stream)

    async with Server(binary, *pair("server")) as server:
        heard = await asyncio.to_thread(plain, server.port)
        assert heard[:2] == b"\x15\x03" and heard[5:6] == b"\x02" and len(heard) == 7, heard
        await server.line(r"cause=refused .*bytes_in=0 .*TLS handshake failed")
        await still_serves(server)
    async with Server(binary) as server:
        assert server.scheme == "http"
        heard = await asyncio.to_thread(secure, server.port)
        assert heard.startswith(b"HTTP/1.1 400 "), heard


@check("half a handshake, and one of a byte a second, end with the time of handshakes")
async def half_a_handshake(binary):
    hello = client_hello()[0]

    def half(port):
        with raw(port) as stream:
            stream.sendall(hello[:len(hello) // 2])
            begun = time.monotonic()
            assert read_to_end(stream) == b""
            return time.monotonic() - begun

    def trickle(port):
        with raw(port) as stream:
            begun = time.monotonic()
            stream.settimeout(1)
            for byte in hello:
                stream.sendall(bytes([byte]))
                try:
                    assert stream.recv(1) == b""
                    return time.monotonic() - begun
                except TimeoutError:
                    pass
            raise AssertionError("it was never cut off")

    async with Server(binary, *pair("server"), "--handshake-timeout", "2s") as server:
        took = await asyncio.gather(asyncio.to_thread(half, server.port), asyncio.to_thread(trickle, server.port))
        assert all(1.5 < seconds < 6 for seconds in took), took
        await still_serves(server)


def connect_many(port, count):
    """So many handshakes at once; their ClientHellos are made before the first is sent."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    context = trust()
    hellos = [client_hello(context) for _ in range(count)]
    print("ready", flush=True)
    sys.stdin.readline()
    selector = selectors.DefaultSelector()
    streams = []
    for hello, *client in hellos:
        stream = raw(port)
        stream.sendall(hello)
        streams.append((stream, client))
    for stream, client in streams:
        stream.setblocking(False)
        selector.register(stream, selectors.EVENT_READ, client)
    done = 0
    deadline = time.monotonic() + CHECK_DEADLINE
    while done < count and time.monotonic() < deadline:
        for key, _ in selector.select(1):
            client, incoming, outgoing = key.data
            incoming.write(key.fileobj.recv(65536))
            try:
                client.do_handshake()
                done += 1
                selector.unregister(key.fileobj)
            except ssl.SSLWantReadError:
                pass
            key.fileobj.setblocking(True)
            key.fileobj.sendall(outgoing.read())
            key.fileobj.setblocking(False)
    print(done, flush=True)


async def round_trips(speaker, listener, until):
    """How long messages take from one to the other, in ms, until something has happened."""
    took = []
    while not until():
        begun = time.monotonic()
        await speaker.send("over there")
        await listener.recv()
        took.append(1000 * (time.monotonic() - begun))
        await speaker.recv()
    return took


@check(f"{CONNECTS} handshakes at once do not starve those who talk")
async def connects(binary):
    async with Server(binary, *pair("server-rsa"), "--handshake-timeout", "30s") as server:
        speaker, listener = await join(server), await join(server)
        quiet_end = time.monotonic() + 1
        quiet = await round_trips(speaker, listener, lambda: time.monotonic() > quiet_end)
        storm = await asyncio.create_subprocess_exec(
            sys.executable, __file__, "--connect", str(server.port), str(CONNECTS),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )
        assert await storm.stdout.readline() == b"ready\n"
        begun = time.monotonic()
        storm.stdin.write(b"go\n")
        done = asyncio.create_task(storm.stdout.readline())
        took = await round_trips(speaker, listener, done.done)
        seconds = time.monotonic() - begun
        handshakes = int(await done)
        await storm.wait()
        print(
            f"      {handshakes} handshakes (RSA 2048) in {seconds:.1f} s; a pair meanwhile: {len(took)} messages, "
            f"p50 {percentile(took, 0.5):.1f} ms, p99 {percentile(took, 0.99):.1f} ms, worst {max(took):.1f} ms "
            f"(before: p99 {percentile(quiet, 0.99):.1f} ms)"
        )
        assert handshakes == CONNECTS
        assert percentile(took, 0.99) < 500, "the pair was starved"
        await still_serves(server)


@check("who reads nothing over TLS is dropped as too slow; the others hear everything")
async def slow(binary):
    async with Server(binary, *pair("server"), "--max-client-buffer", "256K") as server:
        def stuck():
            stream = socket.socket()
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stream.settimeout(CHECK_DEADLINE)
            stream.connect(("127.0.0.1", server.port))
            stream = trust().wrap_socket(stream, server_hostname="localhost")
            stream.sendall(UPGRADE)
            assert stream.recv(12) == b"HTTP/1.1 101"
            return stream

        stream = await asyncio.to_thread(stuck)
        speaker, listener = await join(server), await join(server)
        dropped = asyncio.create_task(server.line(r"gone .*cause=too_slow"))
        sent = 0
        while not dropped.done():
            await say_and_hear(speaker, [speaker, listener], os.urandom(65536))
            sent += 1
            assert sent < 1000, "it is never dropped"
        stream.close()
        await still_serves(server)


@check("SIGHUP brings a renewed certificate to newcomers alone; a bad one changes nothing")
async def renewal(binary):
    def shown(client):
        return client.transport.get_extra_info("ssl_object").getpeercert(True)

    def issued(name):
        with open(file(f"{name}.pem")) as pem:
            return ssl.PEM_cert_to_DER_cert(pem.read())

    with tempfile.TemporaryDirectory() as folder:
        cert, key = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")

        def install(cert_of, key_of):
            shutil.copy(file(f"{cert_of}.pem"), cert)
            shutil.copy(file(f"{key_of}.key"), key)

        install("server", "server")
        async with Server(binary, "--tls-cert", cert, "--tls-key", key) as server:
            early = await join(server)
            # 1. The key is that of another certificate.
            install("renewed", "server")
            server.process.send_signal(signal.SIGHUP)
            await server.line("is not that of the first certificate")
            between = await join(server)
            # 2. Both are of one renewal.
            install("renewed", "renewed")
            server.process.send_signal(signal.SIGHUP)
            async with asyncio.timeout(STARTUP_DEADLINE):
                while shown(late := await join(server)) != issued("renewed"):
                    await late.close()
            assert [shown(early), shown(between)] == [issued("server")] * 2
            await say_and_hear(early, [early, between, late], "all of you")


def idle_clients(port, count):
    """Opens so many WebSockets, and is there until it is killed."""
    context = trust()
    streams = []
    for _ in range(count):
        stream = context.wrap_socket(raw(port), server_hostname="localhost")
        stream.sendall(UPGRADE)
        assert stream.recv(12) == b"HTTP/1.1 101"
        streams.append(stream)
    print("ready", flush=True)
    sys.stdin.read()


async def crowd(server, count):
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--idle", str(server.port), str(count),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )
    assert await process.stdout.readline() == b"ready\n", "not all came in"
    return process


@check("clients that are killed are gone at once, and leave nothing behind")
async def killed(binary):
    async with Server(binary, *pair("server")) as server:
        witness = await join(server)
        before = server.descriptors()
        for _ in range(3):
            process = await crowd(server, 50)
            assert server.descriptors() == before + 50
            process.send_signal(signal.SIGKILL)
            await process.wait()
            await witness.send("somebody left")
            await witness.recv()
        await server.line(r"gone .*cause=(gone|reset)", 150)
        while server.descriptors() != before:
            await asyncio.sleep(0.02)
        await still_serves(server)


@check(f"memory for each of {IDLE} idle clients")
async def idle(binary):
    figures = []
    for flags in [], pair("server"):
        async with Server(binary, *flags) as server:
            if flags:
                await still_serves(server)
            before = server.memory()
            if flags:
                process = await crowd(server, IDLE)
            else:
                streams = []
                for _ in range(IDLE):
                    stream = raw(server.port)
                    stream.sendall(UPGRADE)
                    assert stream.recv(12) == b"HTTP/1.1 101"
                    streams.append(stream)
            figures.append((server.memory() - before) / IDLE)
            if flags:
                process.kill()
                await process.wait()
    plain, secure = figures
    print(f"      {secure:.0f} bytes over TLS, {plain:.0f} plain")
    assert secure < 16 * 1024


async def passes(what, body, binary):
    begun = time.monotonic()
    try:
        async with asyncio.timeout(CHECK_DEADLINE):
            await body(binary)
    except Exception:
        print(f"FAIL  {what}\n{traceback.format_exc()}", flush=True)
        return False
    print(f"ok    {what} ({time.monotonic() - begun:.1f} s)", flush=True)
    return True


async def run(binary):
    passed = 0
    try:
        async with asyncio.timeout(OVERALL_DEADLINE):
            for what, body in checks:
                passed += await passes(what, body, binary)
    except TimeoutError:
        print(f"FAIL  all of it within {OVERALL_DEADLINE} s")
    return passed, len(checks) - passed


def main():
    match sys.argv[1:]:
        case ["--connect", port, count]:
            connect_many(int(port), int(count))
        case ["--idle", port, count]:
            idle_clients(int(port), int(count))
        case [binary]:
            passed, failed = asyncio.run(run(os.path.abspath(binary)))
            print(f"tls: {passed} passed, {failed} failed")
            sys.exit(1 if failed else 0)
        case _:
            sys.exit(f"usage: {sys.argv[0]} SERVER-BINARY")


main()
