"""What operators get from the built server: python3 scrape.py SERVER-BINARY README

Metrics are read by the official parser and held against the rules of `promtool check metrics`; lists are read as JSON;
the examples of README are run by a shell.
"""

import contextlib
import http.client
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import threading

from prometheus_client.parser import text_string_to_metric_families

DEADLINE = 10
LABELS = {"cause", "reason", "route", "status", "phase", "version", "le"}
UPGRADE = (
    "GET /ws{} HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Server:
    """A server on loopback, with an address for operators. It does not outlive the block."""

    def __init__(self, binary):
        environment = {n: v for n, v in os.environ.items() if n != "RUST_LOG" and not n.startswith("FANFARE_")}
        self.process = subprocess.Popen(
            [binary, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"], env=environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        # Whatever becomes of it, reading its lines ends.
        timer = threading.Timer(DEADLINE, self.process.kill)
        timer.start()
        self.public = self.address(r"listening on http://([^/\s]+)/")
        self.admin = self.address(r"admin at http://([^/\s]+)/")
        timer.cancel()
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def address(self, pattern):
        for line in self.process.stderr:
            if found := re.search(pattern, line):
                return found[1]
        raise RuntimeError(f"the server ended before it said {pattern}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def connect(self):
        host, port = self.public.split(":")
        return socket.create_connection((host, int(port)), DEADLINE)

    def member(self, room=""):
        """An open WebSocket of which nothing has been read but the handshake."""
        stream = self.connect()
        stream.sendall(UPGRADE.format(room).encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += stream.recv(1)
        assert head.startswith(b"HTTP/1.1 101 "), head
        return stream


def ask(connection, target):
    connection.request("GET", target)
    response = connection.getresponse()
    text = response.read().decode()
    assert response.status == 200, (target, response.status, text)
    return response, text


def read_frame(stream):
    """The first byte and the payload of an unmasked frame."""
    def exactly(count):
        data = b""
        while len(data) < count:
            piece = stream.recv(count - len(data))
            assert piece, "the connection ended"
            data += piece
        return data

    first, length = exactly(2)
    if length == 126:
        length = int.from_bytes(exactly(2), "big")
    return first, exactly(length)


def scrape(connection):
    """Series by name and labels, checked against the rules."""
    response, text = ask(connection, "/metrics")
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8", response.headers
    assert text.endswith("\n")
    families = list(text_string_to_metric_families(text))
    series = {}
    for family in families:
        check_family(family, text)
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in series, f"{key} is there twice"
            assert set(sample.labels) <= LABELS, sample
            series[key] = sample.value
    names = [family.name for family in families]
    assert len(names) == len(set(names)), "a metric is there twice"
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    assert len(samples) == len(series), "the parser reads every line"
    return series


def check_family(family, text):
    name = family.name + ("_total" if family.type == "counter" else "")
    assert re.fullmatch(r"fanfare_[a-z_]+", name), name
    assert family.type in ("counter", "gauge", "histogram"), family
    assert text.count(f"# HELP {name} ") == 1 and text.count(f"# TYPE {name} {family.type}\n") == 1, name
    assert text.index(f"# HELP {name} ") < text.index(f"# TYPE {name} "), name
    assert family.documentation.strip(), f"{name} has no help"
    # Base units, and no other: what promtool's lint asks for.
    assert not re.search(r"milli|micro|nano|kilo|mega|minute|hour|_ms|_kb", name), name
    assert family.type != "histogram" or name.endswith("_seconds"), name
    if family.type != "counter":
        assert not re.search(r"_(total|count|sum|bucket)$", name), name
    if family.type == "histogram":
        check_histogram(family)
    else:
        assert all(sample.name == name for sample in family.samples), name
    assert all(sample.value >= 0 for sample in family.samples), name


def check_histogram(family):
    buckets = [s for s in family.samples if s.name.endswith("_bucket")]
    bounds = [float(s.labels["le"]) for s in buckets]
    counts = [s.value for s in buckets]
    assert bounds == sorted(set(bounds)) and bounds[-1] == float("inf"), bounds
    assert counts == sorted(counts), f"{family.name} is not cumulative"
    others = {s.name.removeprefix(family.name): s.value for s in family.samples if s not in buckets}
    assert set(others) == {"_sum", "_count"} and others["_count"] == counts[-1], others
    assert others["_sum"] <= counts[-1] * 60, "no turn takes a minute"


def check_metrics(server, connection):
    before = scrape(connection)
    with contextlib.ExitStack() as stack:
        members = [stack.enter_context(server.member("/%22quoted%5C")) for _ in range(3)]
        # Each a refusal, and none may make a series.
        for target in ("/nothing", "/ws", "/ws/%ff", "/%22%0a"):
            stream = stack.enter_context(server.connect())
            stream.sendall(f"GET {target} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
            while stream.recv(4096):
                pass
        for target in ("/nothing", "/clients?sort=%22", "/metrics%0a"):
            other = http.client.HTTPConnection(server.admin, timeout=DEADLINE)
            other.request("GET", target)
            assert other.getresponse().status in (400, 404)
            other.close()
        connection.request("POST", "/publish/%22quoted%5C", b"hello")
        response = connection.getresponse()
        assert (response.status, json.load(response)) == (201, {"receivers": 3})
        for member in members:
            assert read_frame(member) == (0x81, b"hello")
        during = scrape(connection)
        for target, of in (("/rooms", "rooms"), ("/clients?sort=age&limit=3", "clients")):
            response, text = ask(connection, target)
            assert response.headers["Content-Type"] == "application/json", response.headers
            listed = json.loads(text)[of]
            assert (listed[0]["name"] if of == "rooms" else listed[0]["room"]) == '"quoted\\', text
            assert "hello" not in text, "what is said is nobody's business"
    assert set(before) == set(during), set(before) ^ set(during)
    grew = {key: during[key] - before[key] for key in before}
    assert all(n >= 0 for (name, _), n in grew.items() if name.endswith(("_total", "_count", "_bucket", "_sum")))
    assert during[("fanfare_clients", (("phase", "open"),))] == 3
    assert during[("fanfare_rooms", ())] == 1
    assert grew[("fanfare_connections_accepted_total", ())] == 7
    assert grew[("fanfare_handshakes_completed_total", ())] == 3
    assert grew[("fanfare_messages_sent_total", ())] == 3
    assert grew[("fanfare_admin_requests_total", (("route", "unknown"), ("status", "4xx")))] == 2
    assert grew[("fanfare_admin_requests_total", (("route", "publish"), ("status", "2xx")))] == 1
    assert grew[("fanfare_turn_duration_seconds_count", ())] > 0
    # When they are refused, which is before they have gone.
    refusals = {dict(labels)["reason"]: n for (name, labels), n in grew.items() if name == "fanfare_refusals_total" and n}
    assert refusals == {"not_found": 2, "upgrade_required": 1, "invalid_room": 1}, refusals
    return len(during)


def check_examples(server, readme):
    """Runs every line of README's that begins with curl, at the address of this server."""
    section = readme.split("\n## Seeing it\n")[1].split("\n## Close codes\n")[0]
    lines = [line for block in re.findall(r"```sh\n(.*?)```", section, re.S) for line in block.splitlines()]
    examples = [line for line in lines if line.startswith("curl ")]
    assert len(examples) >= 7, examples
    with tempfile.TemporaryDirectory() as folder, server.member("/pictures") as member:
        picture = bytes(range(256)) * 16
        pathlib.Path(folder, "picture.png").write_bytes(picture)
        for example in examples:
            # curl itself does not mind a refusal.
            script = "curl() { command curl --silent --show-error --fail-with-body \"$@\"; }\n"
            script += example.replace("127.0.0.1:9090", server.admin)
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", script], cwd=folder, timeout=DEADLINE, text=True,
                env={**os.environ, "TOKEN": "none"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            assert done.returncode == 0 and done.stdout, f"{example}\n{done.stdout}"
            print(f"  {example}\n    {done.stdout.splitlines()[0][:100]}")
        assert read_frame(member) == (0x82, picture)
        # curl asks first whether a body of this size is welcome.
        large = pathlib.Path(folder, "large")
        for size, status in ((65536, "202"), (65537, "413"), (2 << 20, "413")):
            large.write_bytes(b"x" * size)
            code = subprocess.run(
                ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--data-binary", "@large",
                 f"http://{server.admin}/publish/x"], cwd=folder, timeout=DEADLINE, text=True, stdout=subprocess.PIPE)
            assert code.stdout == status, (size, code)
            piped = subprocess.run(
                ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", "Transfer-Encoding: chunked", "-T", "large",
                 "-X", "POST", f"http://{server.admin}/publish/x"],
                cwd=folder, timeout=DEADLINE, text=True, stdout=subprocess.PIPE)
            assert piped.stdout == status, (size, piped)
    return len(examples)


def main():
    binary, readme = sys.argv[1:]
    with Server(binary) as server:
        connection = http.client.HTTPConnection(server.admin, timeout=DEADLINE)
        series = check_metrics(server, connection)
        examples = check_examples(server, pathlib.Path(readme).read_text())
    print(f"admin: {series} series, {examples} examples of README")


if __name__ == "__main__":
    main()
