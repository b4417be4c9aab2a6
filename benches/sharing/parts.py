"""What is measured: each part yields rows, a name and its figures, one round of them at a time."""

import random
import time
from dataclasses import dataclass
from pathlib import Path

from comparison.measurement import Failed

from .nodes import Nodes
from .redis import Drain, Redis, encoded, envelope

# Bytes of a message, where nothing else is said.
SIZE = 256
# Messages that are published before all subscribers must have taken them: no buffer grows.
BATCH = 5000
CHANNEL = "websocket-broadcast"
# What columns are called.
REDIS = "Redis' CPU µs per message"
SERVER = "the server's CPU µs per message"


@dataclass
class Bench:
    """Where and with what is measured."""

    binary: Path
    load: Path
    logs: Path
    # The servers have the one, Redis and the load generator the other, if there are two.
    server_cpus: list
    other_cpus: list
    quick: bool

    @property
    def seconds(self):
        """How long the load generator measures."""
        return "0.3" if self.quick else "2"

    @property
    def publishes(self):
        """How many messages are published on one bare Redis, by how many take each of them."""
        return lambda readers: max(BATCH, (20_000 if self.quick else 400_000) // readers)

    def nodes(self, count, redis, *flags, one_port=False):
        """Servers that share their rooms through this Redis, or none at all."""
        return Nodes(self.binary, count, self.server_cpus, self.logs, redis, flags, one_port)


# How servers share their rooms: a name and the flags; none is a server alone.
WAYS = (
    ("alone", None),
    ("pubsub", ()),
    ("pubsub, local delivery", ("--redis-delivery", "local")),
    ("stream", ("--redis-mode", "stream")),
)


def processes(bench):
    """A room of 1000 whose members are spread over processes on one port."""
    clients = "100" if bench.quick else "1000"
    paces = (
        ("one message at a time", ("--burst", "1")),
        ("4 speakers, 16 in flight each", ("--publishers", "4", "--window", "16")),
    )
    for title, pace in paces:
        for count in (0, 1, 2, 4):
            with Redis(bench.other_cpus) as redis:
                shared = redis if count else None
                with bench.nodes(max(count, 1), shared, one_port=True) as nodes:
                    before = redis.cpu_ns()
                    answer = nodes.load(
                        bench.load, bench.other_cpus, "fanout", "--clients", clients, *pace,
                        "--size", str(SIZE), "--seconds", bench.seconds, "--warm-up", "0")
                    taken = redis.cpu_ns() - before
                    name = f"{count} with Redis" if count else "1 alone"
                    figures = {
                        "deliveries/s": answer["deliveries"] / answer["seconds"],
                        "CPU ns per delivery": answer["cpu_ns_per_delivery"],
                    }
                    if count:
                        figures[REDIS] = taken / 1e3 / answer["messages"]
                    yield (title, name), figures


def cost(bench):
    """What one message costs more than without Redis: a room of two, as fast as it goes, and at a
    pace."""
    paces = (
        ("as fast as it goes", ("--window", "256")),
        ("1000 a second", ("--rate", "1000")),
    )
    for title, pace in paces:
        for name, flags in WAYS:
            with Redis(bench.other_cpus) as redis:
                shared = redis if flags is not None else None
                with bench.nodes(1, shared, *(flags or ())) as nodes:
                    before = redis.cpu_ns()
                    answer = nodes.load(
                        bench.load, bench.other_cpus, "fanout", "--clients", "2", *pace, "--size",
                        str(SIZE), "--seconds", bench.seconds, "--warm-up", "0")
                    taken = redis.cpu_ns() - before
                    figures = {
                        "messages/s": answer["messages"] / answer["seconds"],
                        SERVER: answer["cpu_ns"] / 1e3 / answer["messages"],
                    }
                    if shared:
                        figures[REDIS] = taken / 1e3 / answer["messages"]
                    yield (title, name), figures


def latency(bench):
    """From saying to hearing, one message at a time, in a room of ten: on the speaker's server, and
    nine of ten on another one."""
    for name, flags in WAYS:
        with Redis(bench.other_cpus) as redis:
            shared = redis if flags is not None else None
            with bench.nodes(2 if shared else 1, shared, *(flags or ())) as nodes:
                first, last = nodes.addresses[0], nodes.addresses[-1]
                places = [("the same server", [first])]
                if shared:
                    places.append(("another server", [first] + [last] * 9))
                for place, addresses in places:
                    answer = nodes.load(
                        bench.load, bench.other_cpus, "fanout", "--clients", "10", "--burst", "1",
                        "--size", str(SIZE), "--seconds", bench.seconds, addresses=addresses)
                    yield (place, name), {
                        "p50 µs": answer["latency_us"]["p50"],
                        "p99 µs": answer["latency_us"]["p99"],
                    }


def subscribers(bench):
    """What a message costs a bare Redis, by the number of servers that hear it."""
    for count in (1, 4, 16, 64):
        with Redis(bench.server_cpus) as redis:
            names = [CHANNEL] * bench.publishes(count)
            yield ("PUBLISH", str(count)), _published(redis, [[CHANNEL]] * count, names)


def channels(bench):
    """One channel for all rooms, against a channel for each: 1000 rooms, 16 servers, each room with
    members on so many of them."""
    servers, rooms = 16, 100 if bench.quick else 1000
    with Redis(bench.server_cpus) as redis:
        names = [CHANNEL] * bench.publishes(servers)
        figures = _published(redis, [[CHANNEL]] * servers, names)
        yield ("one channel", f"all {servers}"), figures
    for spread in (1, 4, 16):
        with Redis(bench.server_cpus) as redis:
            dice = random.Random(spread)
            heard = [[] for _ in range(servers)]
            for room in range(rooms):
                for server in dice.sample(range(servers), spread):
                    heard[server].append(f"{CHANNEL}:{room}")
            publishes = bench.publishes(spread)
            names = [f"{CHANNEL}:{dice.randrange(rooms)}" for _ in range(publishes)]
            yield ("a channel for each room", str(spread)), _published(redis, heard, names)


def unwanted(bench):
    """What a message costs a server on which nobody is in its room."""
    count = 20_000 if bench.quick else 400_000
    for mode in ("pubsub", "stream"):
        with Redis(bench.other_cpus) as redis:
            # It is not to skip what comes faster than it can read.
            flags = ("--redis-mode", mode, "--redis-catchup-max", str(2 * count))
            with bench.nodes(1, redis, *flags) as nodes:
                received = nodes.metric(0, "fanfare_redis_received_total")
                message = envelope(b"x" * SIZE, "nobody-here")
                command = (encoded("PUBLISH", CHANNEL, message) if mode == "pubsub" else
                           encoded("XADD", f"{CHANNEL}:s", "*", "m", message))
                before = nodes.cpu_ns()
                with redis.connect() as publisher:
                    replies = Drain(publisher)
                    replies.start()
                    for _ in range(count // 1000):
                        publisher.send(command * 1000)
                _await(nodes, received + count)
                yield (mode, "nobody is in the room"), {
                    SERVER: (nodes.cpu_ns() - before) / 1e3 / count,
                }


def _await(nodes, count):
    """Waits until a server has received so many messages. Asking costs it something as well, so it
    is not asked often."""
    deadline = time.monotonic() + 60
    while nodes.metric(0, "fanfare_redis_received_total") < count:
        if time.monotonic() > deadline:
            raise Failed(f"a server has not received {count:.0f} messages")
        time.sleep(0.1)


def _published(redis, heard, names):
    """Has each of these lists of channels subscribed to, publishes on these, and counts Redis'
    CPU time for both."""
    drains, count = [], sum(map(len, heard))
    before = redis.cpu_ns()
    for channels_of_one in heard:
        connection = redis.connect()
        for start in range(0, len(channels_of_one), 100):
            some = channels_of_one[start:start + 100]
            connection.send(b"".join(encoded("SUBSCRIBE", name) for name in some))
            for _ in some:
                connection.read()
        drain = Drain(connection)
        drain.start()
        drains.append((drain, connection))
    subscribing = redis.cpu_ns() - before
    payload = b"x" * SIZE
    takers = {}
    for place, channels_of_one in enumerate(heard):
        for name in channels_of_one:
            takers.setdefault(name, []).append(place)
    expected = [0] * len(heard)
    with redis.connect() as publisher:
        replies = Drain(publisher)
        replies.start()
        before = redis.cpu_ns()
        for start in range(0, len(names), BATCH):
            some = names[start:start + BATCH]
            publisher.send(b"".join(encoded("PUBLISH", name, payload) for name in some))
            for name in some:
                size = len(encoded("message", name, payload))
                for place in takers.get(name, ()):
                    expected[place] += size
            for (drain, _), bytes_of_one in zip(drains, expected):
                drain.wait(bytes_of_one)
        taken = redis.cpu_ns() - before
    for _, connection in drains:
        connection.socket.close()
    figures = {REDIS: taken / 1e3 / len(names)}
    if count > len(heard):
        figures["Redis' CPU µs per subscription"] = subscribing / 1e3 / count
    return figures


# By name: the function, and what its rows are called.
PARTS = {
    "processes": (processes, "processes on one port"),
    "cost": (cost, "how rooms are shared"),
    "latency": (latency, "how rooms are shared"),
    "subscribers": (subscribers, "servers that hear it"),
    "channels": (channels, "servers with a member"),
    "unwanted": (unwanted, ""),
}
