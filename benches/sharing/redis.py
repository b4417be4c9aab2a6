"""A Redis of our own, and enough of its language to load it."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from comparison.measurement import Failed

READY_TIMEOUT = 10
END_TIMEOUT = 10
# How long one answer may take.
ANSWER_TIMEOUT = 60
_POLL = 0.01
_READ = 1 << 20


class Redis:
    """A redis-server on a Unix socket in a folder of its own, which keeps nothing. It does not
    outlive the block."""

    def __init__(self, cpus):
        program = shutil.which("redis-server")
        if not program:
            raise Failed("there is no redis-server (Debian: redis-server)")
        self._folder = tempfile.TemporaryDirectory(prefix="fanfare-redis-")
        self.path = str(Path(self._folder.name) / "redis.sock")
        command = [program, "--port", "0", "--unixsocket", self.path, "--save", "", "--appendonly",
                   "no", "--dir", self._folder.name, "--client-output-buffer-limit", "pubsub 0 0 0"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, preexec_fn=lambda: os.sched_setaffinity(0, cpus))
        self.pid = self._process.pid

    def __enter__(self):
        deadline = time.monotonic() + READY_TIMEOUT
        while time.monotonic() < deadline:
            try:
                with self.connect() as connection:
                    connection.call("PING")
                    self.version = _field(connection.call("INFO", "server"), "redis_version")
                return self
            except OSError:
                time.sleep(_POLL)
        self.__exit__()
        raise Failed(f"redis-server was not ready in {READY_TIMEOUT} s")

    def __exit__(self, *_):
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(END_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()

    def connect(self):
        """A new connection."""
        return Connection(self.path)

    def cpu_ns(self):
        """The CPU time that all of its threads have used."""
        threads = Path(f"/proc/{self.pid}/task").glob("*/schedstat")
        return sum(int(thread.read_text().split()[0]) for thread in threads)


class Connection:
    """One connection. Commands are written, and answers read, as they come."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(ANSWER_TIMEOUT)
        self.socket.connect(path)
        self._reader = self.socket.makefile("rb", buffering=_READ)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def call(self, *words):
        """The answer to one command: a number, bytes, a list, or nothing."""
        self.socket.sendall(encoded(*words))
        return self.read()

    def send(self, commands):
        """Sends what is encoded already, while another thread reads the answers away."""
        self.socket.sendall(commands)

    def read(self):
        """The next answer."""
        line = self._reader.readline()
        if not line.endswith(b"\r\n"):
            raise Failed("Redis has ended the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self._reader.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self.read() for _ in range(int(rest))]
        raise Failed(f"Redis says {rest.decode(errors='replace')}")


class Drain(threading.Thread):
    """Reads a connection away, and counts the bytes."""

    def __init__(self, connection):
        super().__init__(daemon=True)
        self._socket = connection.socket
        self.count = 0

    def run(self):
        buffer = bytearray(_READ)
        try:
            while taken := self._socket.recv_into(buffer):
                self.count += taken
        except OSError:
            pass

    def wait(self, count):
        """Waits until so many bytes have come in all."""
        deadline = time.monotonic() + ANSWER_TIMEOUT
        while self.count < count:
            if time.monotonic() > deadline or not self.is_alive():
                raise Failed(f"{self.count} of {count} bytes have come from Redis")
            time.sleep(_POLL / 10)


def encoded(*words):
    """A command as it stands on the wire."""
    words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    parts = [b"*%d\r\n" % len(words)]
    parts += [b"$%d\r\n%s\r\n" % (len(word), word) for word in words]
    return b"".join(parts)


def envelope(payload, room=""):
    """A message as docs/backplane.md has it, of an origin that does not count."""
    name = room.encode()
    return b"\xffWB\x01\x02" + bytes(16) + bytes([len(name)]) + name + payload


def _field(text, name):
    for line in text.decode().splitlines():
        if line.startswith(name + ":"):
            return line.split(":", 1)[1]
    return "?"
