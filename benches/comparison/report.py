"""RESULTS.md: what was measured, as tables."""

from . import scenarios

# Lower is better in every table. A cell is a median; the spread is the least and the greatest.
_MICRO = 1e3


def cpu_per_delivery(answer):
    """Nanoseconds of the server's CPU for each message that somebody heard."""
    return answer.get("cpu_ns_per_delivery")


def cpu_per_handshake(answer):
    """Microseconds of the server's CPU for each connection opened, upgraded, and closed."""
    count = answer.get("handshakes") or answer.get("messages")
    return answer["cpu_ns"] / count / _MICRO if count else None


def cpu_per_idle_minute(answer):
    """Microseconds of the server's CPU for each client and minute."""
    return answer["cpu_ns"] / _MICRO / answer["clients"] / answer["seconds"] * 60


def rss_per_client(answer):
    """Bytes of resident memory that each client has added."""
    return _added(answer, "rss")


def pss_per_client(answer):
    """Bytes of proportional resident memory that each client has added."""
    return _added(answer, "pss")


def rss_growth(answer):
    """MiB of resident memory at the end, beyond those at the start."""
    return (answer["rss_kib_after"] - answer["rss_kib_before"]) / 1024


def rss_peak(answer):
    """MiB of resident memory at most."""
    return answer["rss_kib_peak"] / 1024


def latency(quantile):
    """Microseconds from saying to hearing, at this quantile."""
    return lambda answer: (answer.get("latency_us") or {}).get(quantile)


def _added(answer, kind):
    grown = answer[f"{kind}_kib_after"] - answer[f"{kind}_kib_before"]
    return grown * 1024 / answer["clients"] if answer["clients"] else None


# The rows of each table: the title, and (scenario, what of its answer, the row's title or None for
# the scenario's own). Where a third follows, it's the servers that the table is about.
TABLES = (
    (
        "Fan-out: CPU ns per delivery",
        [(key, cpu_per_delivery, None) for key in
         ("serial", "burst", "window", "window-100", "serial-16k", "window-16k")],
    ),
    (
        "Echo: CPU ns per delivery",
        [(key, cpu_per_delivery, None) for key in ("echo", "echo-16", "echo-1m")],
    ),
    (
        "Connections and memory",
        [
            ("handshake", cpu_per_handshake, "handshake: CPU µs each"),
            ("idle", rss_per_client, "10,000 idle: bytes of RSS each"),
            ("idle", pss_per_client, "10,000 idle: bytes of PSS each"),
            ("idle", cpu_per_idle_minute, "10,000 idle: CPU µs per client and minute"),
            ("serial", rss_peak, "1000 clients, 64 B, serial: peak RSS in MiB"),
            ("window-16k", rss_peak, "1000 clients, 16 KiB, 4 × window 1: peak RSS in MiB"),
        ],
    ),
    (
        "Latency in µs, from saying to hearing",
        [
            (key, latency(quantile), f"{title}: {quantile}")
            for key, title in (
                ("serial", "to 1000, 64 B, serial"),
                ("window", "to 1000, 64 B, 4 × window 16"),
                ("window-100", "to 100, 64 B, 4 × window 1"),
                ("echo", "echo to 100, 64 B"),
            )
            for quantile in ("p50", "p99")
        ],
    ),
    (
        "Slow clients: 1000 clients hear 16 KiB 40 times a second",
        [
            ("slow-0", latency("p99"), "nobody is slow: p99 in µs"),
            ("slow-100", latency("p99"), "100 more never read: p99 in µs"),
            ("slow-0", rss_growth, "nobody is slow: RSS grown by MiB"),
            ("slow-100", rss_growth, "100 more never read: RSS grown by MiB"),
        ],
    ),
    (
        "Rooms: the same deliveries in 1000 rooms and in one, CPU ns per delivery",
        [("rooms", cpu_per_delivery, None), ("one-room", cpu_per_delivery, None)],
    ),
    (
        "Scale: one publisher, 64 B, serial, CPU ns per delivery",
        [
            ("scale-10", cpu_per_delivery, "to 10"),
            ("scale-100", cpu_per_delivery, "to 100"),
            ("serial", cpu_per_delivery, "to 1,000"),
            ("scale-10000", cpu_per_delivery, "to 10,000"),
        ],
        scenarios.OURS_AND_FLOOR,
    ),
)

# The floor has all its memory from the start, and no clock: it is no measure of these.
OF_MEMORY = (rss_per_client, pss_per_client, rss_growth, rss_peak, cpu_per_idle_minute)

SPLIT = ("serial", "burst", "window", "window-100", "serial-16k", "window-16k", "echo", "echo-16",
         "echo-1m")


class Report:
    """The file, from what was measured."""

    def __init__(self, results, servers, missing, measured):
        self._results = results
        self._servers = [server.name for server in servers]
        self._real = {server.name for server in servers if server.is_real}
        self._described = servers
        self._missing = missing
        # The keys of the scenarios that were run.
        self._measured = measured

    def text(self, facts):
        """All of it. `facts` are pairs for its head."""
        parts = ["# Results", _INTRODUCTION]
        parts.append("\n".join(["| | |", "|---|---|", *(f"| {a} | {b} |" for a, b in facts)]))
        parts.append(self._versions())
        for title, rows, *about in TABLES:
            parts.append(self._table(title, rows, *about))
        parts.append(self._split())
        parts.append(self._worse())
        parts.append(self._reasons())
        return "\n\n".join(part for part in parts if part) + "\n"

    def _versions(self):
        lines = ["| Server | Version | |", "|---|---|---|"]
        for server in self._described:
            lines.append(f"| {server.name} | {server.version} | {server.what} |")
        for name, reason in self._missing.items():
            lines.append(f"| {name} | missing | {reason} |")
        return "\n".join(lines)

    def _table(self, title, rows, about=None):
        rows = [row for row in rows if row[0] in self._measured]
        everyone = [name for name in [*self._servers, *self._missing] if name in (about or [name])]
        asked = [name for name in everyone if self._is_asked(name, rows)]
        if not rows:
            return ""
        lines = [f"## {title}", "", _row("", *asked, "others' CPU"),
                 "|---|" + "--:|" * (len(asked) + 1)]
        for key, value, own_title in rows:
            cells = [self._cell(key, name, value) for name in asked]
            lines.append(_row(own_title or _title(key), *cells, self._disturbance([key])))
        return "\n".join(lines)

    def _is_asked(self, name, rows):
        return any(one.is_for(name) for one in scenarios.ALL for key, *_ in rows if one.key == key)

    def _cell(self, key, name, value):
        if name in self._missing:
            return "missing"
        values = self._results.values(key, name, value)
        failures = len(self._results.failures(key, name))
        failed = f"failed {failures} of {failures + len(values)}" if failures else ""
        if not values:
            return failed or "–"
        middle = self._results.median(key, name, value)
        text = f"**{_number(middle)}**" if self._is_best(key, name, value) else _number(middle)
        if len(values) > 1:
            text += f" ({_number(min(values))}–{_number(max(values))})"
        floor = self._results.median(key, "floor", value)
        if floor and floor > 0 and name != "floor" and value not in OF_MEMORY:
            text += f" ×{middle / floor:.2f}"
        return f"{text} {failed}".strip()

    def _is_best(self, key, name, value):
        medians = [self._results.median(key, other, value) for other in self._real]
        own = self._results.median(key, name, value)
        return name in self._real and own <= min(one for one in medians if one is not None)

    def _disturbance(self, keys):
        others = self._results.disturbance(keys)
        return f"{others[0]:.0f} %, at most {others[1]:.0f} %" if others else "–"

    def _split(self):
        keys = [key for key in SPLIT if key in self._measured]
        names = [name for name in ("fanfare", "floor") if name in self._servers]
        if not keys or not names:
            return ""
        heads = [f"{name} {part}" for name in names for part in ("user", "system")]
        lines = ["## User and system: CPU ns per delivery, of all rounds together", "",
                 _row("", *heads), "|---|" + "--:|" * len(heads)]
        for key in keys:
            cells = []
            for name in names:
                for field in ("user_ns", "system_ns"):
                    share = self._results.share(key, name, field, "deliveries")
                    cells.append("–" if share is None else _number(share))
            lines.append(_row(_title(key), *cells))
        return "\n".join(lines)

    def _worse(self):
        """Every row in which a server that one could use is better than fanfare."""
        lines = []
        for title, rows, *about in TABLES:
            if about:
                # It repeats rows of other tables, and is not about other servers.
                continue
            for key, value, own_title in rows:
                better = self._better(key, value)
                if better:
                    own = _number(self._results.median(key, "fanfare", value))
                    lines.append(f"- {title}; {own_title or _title(key)}: {own}, but "
                                 + ", ".join(better))
        if "fanfare" not in self._servers:
            return ""
        head = "## Where fanfare isn't best\n\n"
        return head + ("\n".join(lines) if lines else "Nowhere in the tables above.")

    def _better(self, key, value):
        """Whose median is less than fanfare's, and by how much; `~` if their rounds overlap."""
        own = self._results.values(key, "fanfare", value)
        middle = self._results.median(key, "fanfare", value)
        better = []
        for name in self._servers:
            other = self._results.median(key, name, value)
            if name not in self._real or not middle or other is None or other >= middle:
                continue
            overlap = "~" if min(own) <= max(self._results.values(key, name, value)) else ""
            better.append((other / middle, f"{name} {overlap}{_number(other)}"))
        return [f"{text} ({_less(ratio)})" for ratio, text in sorted(better)]

    def _reasons(self):
        lines = []
        for one in scenarios.ALL:
            for name in self._servers:
                for reason in dict.fromkeys(self._results.failures(one.key, name)):
                    lines.append(f"- {name}, {one.group} {one.title}: {reason}")
        return "## Failures\n\n" + "\n".join(lines) if lines else ""


_INTRODUCTION = """\
Written by `benches/compare`. In every table less is better. A cell is the median of the rounds, in
brackets the least and the greatest, then the ratio to the floor's median; the best of the servers
that one could use is bold. The floor is no such server: it checks nothing and bounds nothing (see
[peers](peers/README.md)). *Others' CPU* is what neither the server nor the load generator took of
all CPUs meanwhile, median and maximum: what makes a measurement doubtful. A measurement in which
a delivery was missing, doubled, corrupt, or out of order has failed. Idle clients are watched for
half a minute, in which fanfare sends each a Ping, and the others none (gorilla's comes after 54 s).
At the end, `~` marks what overlaps with fanfare's own spread."""


def _title(key):
    return next(one.title for one in scenarios.ALL if one.key == key)


def _less(ratio):
    return f"{(1 - ratio) * 100:.0f} % less" if ratio < 0.995 else "as good as equal"


def _row(*cells):
    return f"| {' | '.join(cells)} |"


def _number(number):
    if abs(number) >= 100:
        return f"{number:,.0f}"
    return f"{number:.1f}" if abs(number) >= 10 else f"{number:.2f}"
