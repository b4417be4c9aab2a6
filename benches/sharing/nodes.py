"""Servers that share their rooms, started together."""

import json
import os
import re
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from comparison.measurement import Failed, end, environment, prepare

READY_TIMEOUT = 20
LOAD_TIMEOUT = 120
_POLL = 0.02


class Nodes:
    """So many processes of fanfare: on one port, or each on its own. They do not outlive the
    block."""

    def __init__(self, binary, count, cpus, logs, redis=None, flags=(), one_port=False):
        self._processes, self._logs = [], []
        self.addresses, self._admins = [], []
        self._has_redis = redis is not None
        port = 0
        for number in range(count):
            command = [str(binary), "--listen", f"127.0.0.1:{port}", "--admin", "127.0.0.1:0",
                       "--max-client-buffer", "64M", "--max-connections", "20000"]
            if one_port:
                command.append("--reuse-port")
            if redis:
                command += ["--redis", f"unix://{redis.path}", *flags]
            log_path = logs / f"node-{number}.log"
            with open(log_path, "wb") as log:
                self._processes.append(subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                    env=environment(), preexec_fn=lambda: prepare(cpus)))
            self._logs.append(log_path)
            address = self._said(number, r"listening on http://([^/\s]+)/")
            self._admins.append(self._said(number, r"admin at http://([^/\s]+)/"))
            if one_port:
                port = address.rsplit(":", 1)[1]
            if address not in self.addresses:
                self.addresses.append(address)

    def __enter__(self):
        deadline = time.monotonic() + READY_TIMEOUT
        for admin in self._admins:
            while not self._is_ready(admin):
                if time.monotonic() > deadline:
                    raise Failed(f"a server was not ready in {READY_TIMEOUT} s")
                time.sleep(_POLL)
        if self._has_redis:
            self._await_each_other(deadline)
        return self

    def __exit__(self, *_):
        for process in self._processes:
            end(process)

    @property
    def pids(self):
        """Their processes."""
        return [process.pid for process in self._processes]

    def cpu_ns(self):
        """The CPU time that all of them have used."""
        threads = (Path(f"/proc/{pid}/task").glob("*/schedstat") for pid in self.pids)
        return sum(int(one.read_text().split()[0]) for each in threads for one in each)

    def clients(self):
        """How many clients each of them has."""
        return [int(self.metric(n, 'fanfare_clients{phase="open"}')) for n in range(len(self._admins))]

    def metric(self, number, name):
        """One value of what a server says of itself."""
        text = _get(self._admins[number], "/metrics")[1]
        for line in text.splitlines():
            if line.startswith(name + " "):
                return float(line.rsplit(" ", 1)[1])
        raise Failed(f"there is no metric {name}")

    def load(self, load, cpus, *arguments, addresses=None):
        """What the load generator finds out about them."""
        addresses = ",".join(addresses or self.addresses)
        command = [str(load), *arguments, "--address", addresses,
                   "--pid", ",".join(map(str, self.pids)), "--json", "-"]
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                timeout=LOAD_TIMEOUT, check=False, preexec_fn=lambda: prepare(cpus))
        except subprocess.TimeoutExpired:
            raise Failed(f"the load generator was not done in {LOAD_TIMEOUT} s") from None
        if done.returncode != 0:
            said = (done.stderr.strip() or "it said nothing").splitlines()
            raise Failed(said[-1])
        return json.loads(done.stdout)

    def _said(self, number, pattern):
        deadline = time.monotonic() + READY_TIMEOUT
        while time.monotonic() < deadline:
            text = self._logs[number].read_text(encoding="utf-8", errors="replace")
            if found := re.search(pattern, text):
                return found[1]
            if self._processes[number].poll() is not None:
                break
            time.sleep(_POLL)
        self.__exit__()
        last = text.strip().splitlines()[-1:] or ["nothing"]
        raise Failed(f"a server does not say where it is, but: {last[0]}")

    def _is_ready(self, admin):
        return _get(admin, "/readyz?strict=1")[0] == 200

    def _await_each_other(self, deadline):
        """Waits until each has heard of all others: every 5 s they tell."""
        for number in range(len(self._admins)):
            while self.metric(number, "fanfare_redis_peers") < len(self._admins) - 1:
                if time.monotonic() > deadline:
                    raise Failed("servers do not hear each other")
                time.sleep(_POLL)


def _get(admin, path):
    try:
        with urllib.request.urlopen(f"http://{admin}{path}", timeout=READY_TIMEOUT) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ""
