"""The machine on which it's measured, in a few lines."""

import os
import platform
import re
from pathlib import Path


def describe():
    """Pairs of a name and what it is here."""
    model = re.search(r"^model name\s*: (.+)$", _read("/proc/cpuinfo"), re.MULTILINE)
    memory = re.search(r"^MemTotal:\s*(\d+)", _read("/proc/meminfo"), re.MULTILINE)
    system = re.search(r'^PRETTY_NAME="(.+)"', _read("/etc/os-release"), re.MULTILINE)
    return [
        ("CPU", model[1] if model else platform.machine()),
        ("cores", f"{os.cpu_count()}, of which we may use {len(os.sched_getaffinity(0))}"),
        ("memory", f"{int(memory[1]) / (1 << 20):.1f} GiB" if memory else "?"),
        ("kernel", f"{platform.system()} {platform.release()}"),
        ("system", system[1] if system else "?"),
    ]


def _read(path):
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
