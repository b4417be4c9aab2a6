"""One measurement: a server is started, loaded, and ended."""

import json
import os
import resource
import signal
import socket
import subprocess
import time

# Seconds for a server to be ready, for it to end after SIGTERM, and for the load generator to be
# done beyond what it measures.
READY_TIMEOUT = 20
END_TIMEOUT = 10
LOAD_TIMEOUT = 60
# Where free ports are looked for: below those that the kernel gives to clients.
FIRST_PORT, LAST_PORT = 20_000, 31_999
_POLL = 0.01


class Failed(Exception):
    """A measurement that came to nothing, and why."""


class Bench:
    """Where and with what is measured."""

    def __init__(self, load, logs, pin):
        self.load = load
        self.logs = logs
        cpus = sorted(os.sched_getaffinity(0))
        self.server_cpus, self.load_cpus = (
            (cpus[:1], cpus[1:2]) if pin and len(cpus) > 1 else (cpus, cpus)
        )
        self.is_pinned = self.server_cpus != self.load_cpus
        self._port = FIRST_PORT + os.getpid() % 5000

    def measure(self, server, scenario, seconds, quick):
        """What the load generator found out about `server`; raises `Failed`."""
        port = self._free_port()
        command = server.command(port, scenario.echo)
        log_path = self.logs / f"{server.name}-{scenario.key}.log"
        with open(log_path, "wb") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**environment(), **server.environment(self.is_pinned)},
                preexec_fn=lambda: prepare(self.server_cpus),
            )
        try:
            _await(process, port, log_path)
            result = self._run_load(process, port, scenario, seconds, quick)
            if process.poll() is not None:
                raise Failed(f"the server has ended with {process.returncode}{_tail(log_path)}")
            return result
        finally:
            end(process)

    def _run_load(self, process, port, scenario, seconds, quick):
        result_path = self.logs / "result.json"
        result_path.unlink(missing_ok=True)
        command = [str(self.load), *scenario.command(seconds, quick)]
        command += ["--address", f"127.0.0.1:{port}", "--pid", str(process.pid)]
        command += ["--json", str(result_path)]
        timeout = scenario.seconds(seconds, quick) + LOAD_TIMEOUT
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout,
                preexec_fn=lambda: prepare(self.load_cpus),
            )
        except subprocess.TimeoutExpired:
            raise Failed(f"the load generator was not done in {timeout:.0f} s") from None
        if done.returncode != 0:
            said = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()
            raise Failed(said[-1])
        with open(result_path, encoding="utf-8") as file:
            return json.load(file)

    def _free_port(self):
        """A port that nobody has, another one each time."""
        for _ in range(LAST_PORT - FIRST_PORT):
            self._port = self._port + 1 if self._port < LAST_PORT else FIRST_PORT
            with socket.socket() as probe:
                try:
                    probe.bind(("127.0.0.1", self._port))
                except OSError:
                    continue
            return self._port
        raise Failed("there is no free port")


def environment():
    """Ours, without what would change a server's configuration or log."""
    return {
        name: value for name, value in os.environ.items()
        if not name.startswith("FANFARE_") and name not in ("RUST_LOG", "GOGC", "NODE_OPTIONS")
    }


def prepare(cpus):
    """In the new process: its CPUs, and as many descriptors as it may have."""
    os.sched_setaffinity(0, cpus)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _await(process, port, log_path):
    """Waits until the server has said where it listens, as all of them do."""
    deadline = time.monotonic() + READY_TIMEOUT
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Failed(f"the server ended with {process.returncode}{_tail(log_path)}")
        if f"127.0.0.1:{port}".encode() in log_path.read_bytes():
            return
        time.sleep(_POLL)
    raise Failed(f"the server was not ready in {READY_TIMEOUT} s{_tail(log_path)}")


def end(process):
    """Ends what was started here: SIGTERM, and SIGKILL if that is not heard."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(END_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _tail(log_path):
    """The last line that a server has said, if any."""
    lines = log_path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f": {lines[-1]}" if lines else ""
