"""The scenarios: what the load generator is asked for, and what of its answer is compared."""

from dataclasses import dataclass
from typing import Optional

# Servers of the rows that only make sense for some.
OURS = ("fanfare",)
OURS_AND_FLOOR = ("fanfare", "floor")

# Clients that a quick run has at most.
QUICK_CLIENTS = 1000
# Seconds that a quick run measures at most.
QUICK_SECONDS = 0.3


@dataclass(frozen=True)
class Scenario:
    """One question to all servers, or to those named."""

    key: str
    group: str
    title: str
    arguments: tuple
    clients: int = 0
    echo: bool = False
    servers: Optional[tuple] = None
    # How often it is measured at most; memory does not vary as times do.
    max_rounds: int = 5
    # How much longer than others it is measured: for rates, and for what happens rarely.
    times: float = 1.0
    # Seconds of connecting and of ending, for the estimate.
    overhead: float = 0.9

    def seconds(self, seconds, quick):
        """How long it is measured when the others are measured for `seconds`."""
        return min(seconds, QUICK_SECONDS) if quick else seconds * self.times

    def command(self, seconds, quick):
        """The load generator's arguments, but for the address and the like."""
        words = [str(word) for word in self.arguments]
        if self.clients:
            clients = min(self.clients, QUICK_CLIENTS) if quick else self.clients
            words += ["--clients", str(clients)]
        return words + ["--seconds", f"{self.seconds(seconds, quick):g}"]

    def rounds(self, rounds):
        """How often it is measured when `rounds` are asked for."""
        return min(rounds, self.max_rounds) if rounds <= 5 else rounds

    def is_for(self, server):
        """Whether this server is asked."""
        return self.servers is None or server in self.servers


def _fanout(key, title, clients, size, publishers, *pace, group="fanout", **more):
    arguments = ("fanout", "--size", size, "--publishers", publishers, *pace)
    overhead = 0.7 + clients / 4000
    return Scenario(key, group, title, arguments, clients, overhead=overhead, **more)


def _echo(key, title, clients, window, size):
    return Scenario(
        key, "echo", title, ("echo", "--window", window, "--size", size), clients, echo=True
    )


def _slow(key, title, count):
    # More than what the kernel keeps for one who does not read: the rest is the server's to keep.
    arguments = ("slow", "--size", "16K", "--rate", 40, "--slow", count)
    return Scenario(key, "slow", title, arguments, 1000, max_rounds=2, times=5, overhead=1.5)


SERIAL = ("--burst", 1)

ALL = (
    _fanout("serial", "to 1000, 64 B, serial", 1000, 64, 1, *SERIAL),
    _fanout("burst", "to 1000, 64 B, bursts of 16", 1000, 64, 1, "--burst", 16),
    _fanout("window", "to 1000, 64 B, 4 publishers × window 16", 1000, 64, 4, "--window", 16),
    _fanout("window-100", "to 100, 64 B, 4 publishers × window 1", 100, 64, 4, "--window", 1),
    _fanout("serial-16k", "to 1000, 16 KiB, serial", 1000, "16K", 1, *SERIAL),
    _fanout("window-16k", "to 1000, 16 KiB, 4 publishers × window 1", 1000, "16K", 4,
            "--window", 1),
    _echo("echo", "100 clients × window 1, 64 B", 100, 1, 64),
    _echo("echo-16", "100 clients × window 16, 64 B", 100, 16, 64),
    _echo("echo-1m", "10 clients × window 1, 1 MiB", 10, 1, "1M"),
    Scenario("handshake", "handshake", "16 at a time", ("handshake",)),
    Scenario(
        "idle", "idle", "10,000 idle clients", ("idle",), 10_000, max_rounds=1, times=30, overhead=5
    ),
    _slow("slow-0", "1000 clients, 16 KiB at 40/s", 0),
    _slow("slow-100", "the same, and 100 who never read", 100),
    Scenario(
        "rooms",
        "rooms",
        "1000 rooms of 10, 1/s each",
        ("rooms", "--rooms", 1000, "--members", 10, "--rate", 1, "--size", 64),
        servers=OURS,
        times=3,
        overhead=3,
    ),
    _fanout(
        "one-room", "one room of 1000, 10/s", 1000, 64, 1, "--rate", 10,
        group="rooms", servers=OURS, times=3,
    ),
    *(
        _fanout(
            f"scale-{members}", f"to {members:,}", members, 64, 1, *SERIAL,
            group="scale", servers=OURS_AND_FLOOR,
        )
        for members in (10, 100, 10_000)
    ),
)


def chosen(names):
    """The scenarios that are named, by key or by group, or all; and the names that are unknown."""
    if not names:
        return list(ALL), []
    unknown = [name for name in names if not any(name in (one.key, one.group) for one in ALL)]
    return [one for one in ALL if one.key in names or one.group in names], unknown
