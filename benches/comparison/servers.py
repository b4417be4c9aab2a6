"""The servers: how each is built, started, and what version it is."""

import ctypes.util
import json
import os
import platform
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / "benches" / "peers"
# Everything that is built, but for fanfare itself.
OUTPUT = ROOT / "target" / "compare"
# Seconds that one command of a build may take.
BUILD_TIMEOUT = 900


class Missing(Exception):
    """A server that can't be built here, and why."""


class Server:
    """What all of them have."""

    name = ""
    # What it is, in a few words.
    what = ""
    # Whether it is a server that one could use.
    is_real = True
    version = ""

    def build(self):
        """Builds it, and finds out its version; raises `Missing`."""
        raise NotImplementedError

    def command(self, port, echo):
        """The command line that serves on this port."""
        raise NotImplementedError

    def environment(self, is_pinned):
        """Environment variables on top of ours."""
        del is_pinned
        return {}


class Fanfare(Server):
    """This one. The echo is the example of that name."""

    name = "fanfare"
    what = "this server, default configuration but for its limits"

    def build(self):
        run(self.name, ["cargo", "build", "--release", "--locked", "--bin", "fanfare",
                        "--example", "echo"], ROOT, CARGO_TARGET_DIR=str(ROOT / "target"))
        said = output([str(self._binary()), "--version"]).splitlines()
        commit = output(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"])
        changed = output(["git", "-C", str(ROOT), "status", "--porcelain", "src", "Cargo.toml"])
        self.version = said[0].removeprefix("fanfare ") if said else "?"
        if commit:
            self.version += f" (commit {commit}{', changed since' if changed else ''})"

    def command(self, port, echo):
        address = f"127.0.0.1:{port}"
        if echo:
            echo = ROOT / "target" / "release" / "examples" / "echo"
            return [str(echo), address, str(16 << 20), str(64 << 20)]
        return [str(self._binary()), "--listen", address, "--max-message-size", "16M",
                "--max-client-buffer", "64M", "--max-connections", "20000"]

    @staticmethod
    def _binary():
        return ROOT / "target" / "release" / "fanfare"


class Peer(Server):
    """One with the common command line."""

    def start(self):
        """How it is started, without arguments."""
        raise NotImplementedError

    def command(self, port, echo):
        return [*self.start(), "--port", str(port), *(["--echo"] if echo else [])]


class Crate(Peer):
    """One in Rust."""

    def __init__(self, name, what, *crates, package=None, is_real=True):
        self.name, self.what, self.is_real = name, what, is_real
        self._package = package or f"peer-{name}"
        self._crates = crates

    def build(self):
        manifest = PEERS / self.name / "Cargo.toml"
        run(self.name, ["cargo", "build", "--release", "--locked", "--manifest-path",
                        str(manifest)], ROOT, CARGO_TARGET_DIR=str(OUTPUT / "cargo"))
        locked = (PEERS / self.name / "Cargo.lock").read_text(encoding="utf-8")
        pairs = dict(re.findall(r'name = "(.+)"\nversion = "(.+)"', locked))
        self.version = ", ".join(f"{crate} {pairs[crate]}" for crate in self._crates) or "–"

    def start(self):
        return [str(OUTPUT / "cargo" / "release" / self._package)]


class Gorilla(Peer):
    """The one in Go, on Debian's packages alone."""

    name = "gorilla"
    what = "the tutorial's hub and pumps on gorilla/websocket"

    def build(self):
        library = Path("/usr/share/gocode/src/github.com/gorilla/websocket")
        if not shutil.which("go"):
            raise Missing("there is no go (Debian: golang-go)")
        if not library.is_dir():
            raise Missing("there is no golang-github-gorilla-websocket-dev")
        OUTPUT.mkdir(parents=True, exist_ok=True)
        run(self.name, ["go", "build", "-o", str(self._binary()), "main.go"], PEERS / self.name,
            GO111MODULE="off", GOPATH="/usr/share/gocode", GOFLAGS="")
        package = output(["dpkg-query", "-W", "-f", "${Version}",
                          "golang-github-gorilla-websocket-dev"])
        go = output(["go", "version"]).split()
        self.version = f"gorilla/websocket {package or '?'}, {go[2] if len(go) > 2 else 'go ?'}"

    def start(self):
        return [str(self._binary())]

    def environment(self, is_pinned):
        return {"GOMAXPROCS": "1"} if is_pinned else {}

    @staticmethod
    def _binary():
        return OUTPUT / "gorilla"


class Npm(Peer):
    """What the npm registry has: the folder's lock file says which."""

    def build(self):
        if not shutil.which("npm"):
            raise Missing("there is no npm")
        folder, source = OUTPUT / self.name, PEERS / self.name
        folder.mkdir(parents=True, exist_ok=True)
        lock = (source / "package-lock.json").read_bytes()
        stamp = folder / "installed-lock.json"
        if not stamp.is_file() or stamp.read_bytes() != lock:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(source / name, folder)
            run(self.name, ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund",
                            "--loglevel=error"], folder)
            stamp.write_bytes(lock)
        shutil.copy(source / "server.mjs", folder)
        self.locked = {
            path.removeprefix("node_modules/"): package["version"]
            for path, package in json.loads(lock)["packages"].items() if path
        }


class Ws(Npm):
    """The one on Node.js."""

    name = "ws"
    what = "ws on Node.js with its native add-ons, corked for a turn"

    def build(self):
        if not shutil.which("node"):
            raise Missing("there is no node")
        super().build()
        self.version = f"ws {self.locked['ws']}, node {output(['node', '--version'])}"

    def start(self):
        return ["node", str(OUTPUT / self.name / "server.mjs")]


class Bun(Npm):
    """The fork of uWebSockets within Bun."""

    name = "bun"
    what = "Bun.serve, which embeds a fork of uWebSockets, on epoll"

    def build(self):
        super().build()
        self.version = f"bun {output([self._binary(), '--version'])}"
        if self.version == "bun ":
            raise Missing("bun does not run here")

    def start(self):
        return [self._binary(), str(OUTPUT / self.name / "server.mjs")]

    @staticmethod
    def _binary():
        package = f"bun-linux-{'x64' if platform.machine() == 'x86_64' else platform.machine()}"
        return str(OUTPUT / "bun" / "node_modules" / "@oven" / package / "bin" / "bun")


class UWebSockets(Peer):
    """uWebSockets as the Python package `socketify` has it built, and a page of C."""

    name = "uwebsockets"
    what = "uWebSockets by its C interface, on libuv"
    _LIBRARY = "libsocketify_linux_amd64.so"

    def build(self):
        if platform.system() != "Linux" or platform.machine() != "x86_64":
            raise Missing("its library is built for x86-64 Linux alone")
        compiler = shutil.which("cc") or shutil.which("gcc")
        if not compiler:
            raise Missing("there is no C compiler")
        folder, source = OUTPUT / self.name, PEERS / self.name
        folder.mkdir(parents=True, exist_ok=True)
        wanted = (source / "requirements.txt").read_text(encoding="utf-8").split()[0]
        if not (folder / self._LIBRARY).is_file():
            self._fetch(folder, source)
        libuv = self._libuv(folder)
        run(self.name, [compiler, "-O2", "-Wall", "-Wextra", "-o", str(folder / "uwebsockets"),
                        str(source / "main.c"), "-Wl,--no-as-needed", self._LIBRARY, libuv,
                        "-Wl,-rpath,$ORIGIN"], folder)
        self.version = f"{wanted.replace('==', ' ')} (the package with its library)"

    def _fetch(self, folder, source):
        """The library out of the package; nothing of the package is installed."""
        run(self.name, ["python3", "-m", "pip", "download", "--quiet", "--no-input", "--no-deps",
                        "--no-binary", ":all:", "--disable-pip-version-check", "--require-hashes",
                        "--dest", ".", "-r", str(source / "requirements.txt")], folder)
        archives = list(folder.glob("socketify-*.tar.gz"))
        if not archives:
            raise Missing("pip has downloaded no socketify")
        with tarfile.open(archives[0]) as archive:
            for member in archive:
                if member.isfile() and Path(member.name).name == self._LIBRARY:
                    data = archive.extractfile(member).read()
                    (folder / self._LIBRARY).write_bytes(data)
                    return
        raise Missing(f"there is no {self._LIBRARY} in socketify")

    def _libuv(self, folder):
        """How the linker finds libuv: the system's, or Debian's package unpacked next to us."""
        if ctypes.util.find_library("uv"):
            return "-l:libuv.so.1"
        if not (folder / "libuv.so.1").is_file():
            if not shutil.which("apt-get") or not shutil.which("dpkg"):
                raise Missing("there is no libuv (Debian: libuv1)")
            run(self.name, ["apt-get", "download", "libuv1"], folder)
            for package in folder.glob("libuv1_*.deb"):
                run(self.name, ["dpkg", "-x", package.name, "libuv1"], folder)
            for library in (folder / "libuv1").rglob("libuv.so.1"):
                shutil.copy(library, folder / "libuv.so.1")
        return "libuv.so.1"

    def start(self):
        return [str(OUTPUT / self.name / "uwebsockets")]


def everyone():
    """All servers, fanfare first."""
    return [
        Fanfare(),
        Crate("floor", "no server, but what the kernel alone costs", package="floor",
              is_real=False),
        Crate("tokio-tungstenite", "one thread, what is waiting is flushed once",
              "tokio-tungstenite", "tungstenite", "tokio"),
        Crate("fastwebsockets", "one thread, with hyper, buffered and vectored writes",
              "fastwebsockets", "hyper", "tokio"),
        Gorilla(),
        Ws(),
        UWebSockets(),
        Bun(),
    ]


def build_load():
    """The load generator's binary; raises `Missing`."""
    manifest = ROOT / "benches" / "load" / "Cargo.toml"
    if not manifest.is_file():
        raise Missing("there is no benches/load")
    run("load", ["cargo", "build", "--release", "--locked", "--bin", "load", "--manifest-path",
                 str(manifest)], ROOT, CARGO_TARGET_DIR=str(OUTPUT / "cargo"))
    return OUTPUT / "cargo" / "release" / "load"


def run(name, command, folder, **environment):
    """A step of a build, whose output goes to a file; raises `Missing` if it fails."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    log_path = OUTPUT / f"build-{name}.log"
    with open(log_path, "wb") as log:
        try:
            done = subprocess.run(
                command, cwd=folder, env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
                stdout=log, stderr=subprocess.STDOUT, timeout=BUILD_TIMEOUT, check=False,
            )
            reason = f"{command[0]} has failed with {done.returncode}" if done.returncode else ""
        except (OSError, subprocess.TimeoutExpired) as error:
            reason = str(error)
    if reason:
        raise Missing(f"{reason}, see {log_path.relative_to(ROOT)}")


def output(command):
    """What a command says, or nothing."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
