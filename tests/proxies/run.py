"""nginx and HAProxy in front of the built server, as docs/proxies.md has them: python3 run.py SERVER-BINARY

Each configuration is taken out of the page, with other addresses and shorter times. A client that is bound to an
address of its own must arrive with that address, whatever it says itself.
"""

import asyncio
import contextlib
import os
import pathlib
import re
import shlex
import socket
import sys
import tempfile
import traceback

from websockets.asyncio.client import connect, unix_connect
from websockets.exceptions import ConnectionClosed

DEADLINE = 15
# The page's timeouts of proxies, and what stands for them here; pings come more often than that.
PAGE_TIMEOUT, TIMEOUT = "75s", "2s"
HEARTBEAT = ["--ping-interval", "1s", "--pong-timeout", "800ms"]
# Longer than a proxy's timeout.
SILENCE = 3.5
SPOOFED = {"X-Forwarded-For": "203.0.113.66", "Forwarded": "for=203.0.113.66"}

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "proxies.md"
NGINX = """\
daemon off;
pid {folder}/nginx.pid;
error_log stderr;
{user}
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {conf};
}}
"""


def snippets():
    """What docs/proxies.md says, by name: fanfare's flags, and the proxy's configuration."""
    found = {}
    pattern = r"```sh\nfanfare ([^\n]*)\n```\n\n<!-- conf: (\S+) -->\n```\w+\n(.*?)```"
    for flags, name, conf in re.findall(pattern, PAGE.read_text(), re.DOTALL):
        found[name] = (shlex.split(flags), conf)
    return found


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def replaced(text, changes):
    """With other addresses; each one must be there, or the page says something else than this."""
    for old, new in changes.items():
        assert old in text, f"'{old}' is not in:\n{text}"
        text = text.replace(old, new)
    return text


class Program:
    """A process of ours. What it writes to stderr is kept, line by line; it does not outlive the block."""

    def __init__(self, *command, **options):
        self.command = command
        self.options = options
        self.lines = []
        self.changed = asyncio.Event()

    async def __aenter__(self):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("FANFARE_")}
        environment.pop("RUST_LOG", None)
        self.process = await asyncio.create_subprocess_exec(
            *map(str, self.command), env=environment, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE, **self.options,
        )
        self.reader = asyncio.create_task(self.read())
        return self

    async def __aexit__(self, kind, *_):
        if self.process.returncode is None:
            # nginx's master ends its worker at a SIGTERM.
            self.process.terminate()
            try:
                await asyncio.wait_for(self.process.wait(), DEADLINE)
            except TimeoutError:
                self.process.kill()
                await self.process.wait()
        await self.reader
        if kind is not None:
            print(f"-- {self.command[0]}", *self.lines, sep="\n   ")

    async def read(self):
        while line := await self.process.stderr.readline():
            self.lines.append(line.decode(errors="replace").rstrip())
            self.changed.set()
        self.lines.append("(end)")
        self.changed.set()

    async def line(self, pattern):
        """Waits for a line, and returns what the pattern finds in it."""
        at = 0
        async with asyncio.timeout(DEADLINE):
            while True:
                for line in self.lines[at:]:
                    if found := re.search(pattern, line):
                        return found
                    assert line != "(end)", f"{self.command[0]} ended without a line like {pattern}"
                at = len(self.lines)
                self.changed.clear()
                await self.changed.wait()


async def reachable(port, program):
    """Waits until somebody answers HTTP with a 200 there: the proxy runs, and has found its backend."""
    async with asyncio.timeout(DEADLINE):
        while True:
            assert program.process.returncode is None, "the proxy has ended"
            with contextlib.suppress(OSError, IndexError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                answer = await reader.read()
                writer.close()
                if answer.split()[1] == b"200":
                    return
            # Nobody tells when another program has begun to listen.
            await asyncio.sleep(0.05)


def client(port, address, **options):
    return connect(
        f"ws://127.0.0.1:{port}/ws/lobby", proxy=None, local_addr=(address, 0), ping_interval=None, **options
    )


async def converse(port, server):
    """Two clients, each from an address of its own, one of them a liar; and what the server takes them for."""
    shown = lambda ws: rf"open id=\S+ peer={ws.local_address[0]}(:{ws.local_address[1]})? room=\"lobby\""
    async with client(port, "127.0.0.2") as one, client(port, "127.0.0.3", additional_headers=SPOOFED) as other:
        await server.line(shown(one))
        await server.line(shown(other))
        messages = ["hello", "", "ü" * 1000, b"\0\1\2", b"x" * 60_000]
        for message in messages:
            await one.send(message)
            for hearer in (one, other):
                assert await asyncio.wait_for(hearer.recv(), DEADLINE) == message
        await other.send("from the other side")
        for hearer in (one, other):
            assert await asyncio.wait_for(hearer.recv(), DEADLINE) == "from the other side"
        # Nobody says a word for longer than the proxy would keep them without Pings.
        silences = (asyncio.wait_for(ws.recv(), SILENCE) for ws in (one, other))
        for result in await asyncio.gather(*silences, return_exceptions=True):
            assert isinstance(result, TimeoutError), f"not silence but {result!r}"
        await one.send("still here")
        assert await asyncio.wait_for(one.recv(), DEADLINE) == "still here"
        # A Close goes all the way and back.
        await one.close(4001, "as I like")
        assert one.protocol.close_rcvd.code == 4001
    await server.line(r"gone id=\S+ peer=127\.0\.0\.2(:\d+)? .*cause=closed")
    assert not any("203.0.113.66" in line for line in server.lines), "a made-up address was believed"


async def stopped(port, server):
    """The server's Close at its end reaches the clients."""
    async with client(port, "127.0.0.2") as ws:
        server.process.terminate()
        try:
            await asyncio.wait_for(ws.recv(), DEADLINE)
            raise AssertionError("a message instead of the end")
        except ConnectionClosed as closed:
            assert closed.rcvd is not None and closed.rcvd.code == 1001, closed


def nginx(folder, conf):
    # The workers of root are somebody else, who may not enter the folder.
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "fanfare.conf").write_text(conf)
    main = folder / "nginx.conf"
    main.write_text(NGINX.format(folder=folder, user=user, conf=folder / "fanfare.conf"))
    return Program("nginx", "-p", folder, "-e", "stderr", "-c", main)


def haproxy(folder, conf):
    main = folder / "haproxy.cfg"
    main.write_text(conf)
    return Program("haproxy", "-db", "-f", main)


async def variant(binary, folder, flags, conf, make):
    """Runs one configuration of the page."""
    port, backend = free_port(), free_port()
    path = folder / "fanfare.sock"
    places = {"127.0.0.1:8080": f"127.0.0.1:{backend}", "/run/fanfare/fanfare.sock": str(path)}
    by_place = {old: new for old, new in places.items() if old in conf}
    conf = replaced(conf, by_place | {PAGE_TIMEOUT: TIMEOUT})
    if make is nginx:
        conf = replaced(conf, {"listen 80;": f"listen 127.0.0.1:{port};", "    listen [::]:80;\n": ""})
    else:
        conf = replaced(conf, {"bind :80": f"bind 127.0.0.1:{port}", "maxconn 20000": "maxconn 100"})
    flags = [next((flag.replace(old, new) for old, new in places.items() if old in flag), flag) for flag in flags]
    async with Program(binary, "-v", *HEARTBEAT, *flags) as server:
        await server.line("listening on")
        async with make(folder, conf) as proxy:
            await reachable(port, proxy)
            await converse(port, server)
            await stopped(port, server)


async def chain(binary, folder, pages):
    """HAProxy before nginx before fanfare: two hops that are trusted, and a client that is not."""
    outer, inner, backend = free_port(), free_port(), free_port()
    flags, conf = pages["nginx"]
    conf = replaced(conf, {
        "127.0.0.1:8080": f"127.0.0.1:{backend}", "listen 80;": f"listen 127.0.0.1:{inner};",
        "    listen [::]:80;\n": "", PAGE_TIMEOUT: TIMEOUT,
    })
    _, front = pages["haproxy-http"]
    front = replaced(front, {
        "127.0.0.1:8080": f"127.0.0.1:{inner}", "bind :80": f"bind 127.0.0.1:{outer}", PAGE_TIMEOUT: TIMEOUT,
        "maxconn 20000": "maxconn 100",
    })
    flags = [flag.replace("127.0.0.1:8080", f"127.0.0.1:{backend}") for flag in flags]
    async with (
        Program(binary, "-v", *HEARTBEAT, *flags) as server,
        nginx(folder, conf) as middle,
    ):
        await server.line("listening on")
        await reachable(inner, middle)
        async with haproxy(folder, front) as proxy:
            await reachable(outer, proxy)
            await converse(outer, server)


async def misconfigured(binary, folder, pages):
    """Without --trusted-proxy nobody is believed, and the log says once what to do."""
    port, backend = free_port(), free_port()
    _, conf = pages["nginx"]
    conf = replaced(conf, {
        "127.0.0.1:8080": f"127.0.0.1:{backend}", "listen 80;": f"listen 127.0.0.1:{port};", "    listen [::]:80;\n": "",
    })
    async with Program(binary, "-v", "--listen", f"127.0.0.1:{backend}") as server:
        await server.line("listening on")
        async with nginx(folder, conf) as proxy:
            await reachable(port, proxy)
            for address in ("127.0.0.2", "127.0.0.3"):
                async with client(port, address) as ws:
                    await ws.send("hello")
                    assert await asyncio.wait_for(ws.recv(), DEADLINE) == "hello"
            await server.line(r"WARN .*see --trusted-proxy: peer=127\.0\.0\.1:")
    opened = [line for line in server.lines if "open id=" in line]
    assert len(opened) == 2 and all("peer=127.0.0.1:" in line for line in opened), opened
    assert sum("--trusted-proxy" in line for line in server.lines) == 1, server.lines


# Passes its arguments' sockets on as systemd does: from 3 on, and to this very process.
ACTIVATE = """
import fcntl, os, sys
sockets = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 10) for fd in sys.argv[1].split(",")]
for at, fd in enumerate(sockets):
    os.dup2(fd, 3 + at)
environment = {"LISTEN_FDS": str(len(sockets)), "LISTEN_PID": str(os.getpid())}
os.execve(sys.argv[2], sys.argv[2:], environment)
"""


async def activated(binary, folder):
    """--listen systemd with a TCP and a Unix socket: both are served, and they share their rooms."""
    path = folder / "activated.sock"
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(path))
        unix.listen()
        port = tcp.getsockname()[1]
        passed = (tcp.fileno(), unix.fileno())
        names = ",".join(map(str, passed))
        async with Program(
            sys.executable, "-c", ACTIVATE, names, binary, "--listen", "systemd", "-v", pass_fds=passed
        ) as server:
            await server.line(rf"listening on http://127\.0\.0\.1:{port}/")
            await server.line(rf"listening on unix:{path}")
            async with client(port, "127.0.0.2") as one, unix_connect(str(path), "ws://a/ws/lobby") as other:
                await one.send("over both")
                assert await asyncio.wait_for(other.recv(), DEADLINE) == "over both"
    assert path.exists(), "the supervisor's file is gone"


async def main(binary):
    pages = snippets()
    assert sorted(pages) == ["haproxy-http", "haproxy-tcp", "nginx", "nginx-unix"], sorted(pages)
    tcp_flags, tcp_conf = pages["haproxy-tcp"]
    # What the page says in words.
    version_1 = replaced(tcp_conf, {"check send-proxy-v2": "check send-proxy"})
    unix_conf = replaced(tcp_conf, {"fanfare 127.0.0.1:8080": "fanfare unix@/run/fanfare/fanfare.sock"})
    unix_flags = ["--listen", "unix:/run/fanfare/fanfare.sock", "--trusted-proxy", "unix", "--proxy-protocol"]
    checks = {
        "nginx": lambda folder: variant(binary, folder, *pages["nginx"], nginx),
        "nginx, Unix socket": lambda folder: variant(binary, folder, *pages["nginx-unix"], nginx),
        "haproxy, HTTP": lambda folder: variant(binary, folder, *pages["haproxy-http"], haproxy),
        "haproxy, TCP": lambda folder: variant(binary, folder, tcp_flags, tcp_conf, haproxy),
        "haproxy, TCP, version 1": lambda folder: variant(binary, folder, tcp_flags, version_1, haproxy),
        "haproxy, TCP, Unix socket": lambda folder: variant(binary, folder, unix_flags, unix_conf, haproxy),
        "haproxy before nginx": lambda folder: chain(binary, folder, pages),
        "nobody trusted": lambda folder: misconfigured(binary, folder, pages),
        "systemd's sockets": lambda folder: activated(binary, folder),
    }

    async def passes(name, check):
        # The path of a Unix socket has 108 bytes.
        with tempfile.TemporaryDirectory(prefix="fanfare-") as folder:
            try:
                await asyncio.wait_for(check(pathlib.Path(folder)), 4 * DEADLINE)
            except Exception:
                print(f"FAILED  {name}\n{traceback.format_exc()}")
                return False
        print(f"ok      {name}")
        return True

    passed = await asyncio.gather(*(passes(name, check) for name, check in checks.items()))
    print(f"proxies: {passed.count(True)} passed, {passed.count(False)} failed")
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1])))
