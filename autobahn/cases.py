"""The cases of the Autobahn testsuite 0.8.2, by number."""

# How many cases each subsection has. (There are no sections 8 and 11.)
COUNTS = {
    "1.1": 8, "1.2": 8, "2": 11, "3": 7, "4.1": 5, "4.2": 5, "5": 20,
    "6.1": 3, "6.2": 4, "6.3": 2, "6.4": 4, "6.5": 5, "6.6": 11, "6.7": 4, "6.8": 2, "6.9": 4, "6.10": 3, "6.11": 5,
    "6.12": 8, "6.13": 5, "6.14": 10, "6.15": 1, "6.16": 3, "6.17": 5, "6.18": 5, "6.19": 5, "6.20": 7, "6.21": 8,
    "6.22": 34, "6.23": 7,
    "7.1": 6, "7.3": 6, "7.5": 1, "7.7": 13, "7.9": 9, "7.13": 2,
    "9.1": 6, "9.2": 6, "9.3": 9, "9.4": 9, "9.5": 6, "9.6": 6, "9.7": 6, "9.8": 6, "10.1": 1,
    "12.1": 18, "12.2": 18, "12.3": 18, "12.4": 18, "12.5": 18,
    "13.1": 18, "13.2": 18, "13.3": 18, "13.4": 18, "13.5": 18, "13.6": 18, "13.7": 18,
}
ALL = [f"{subsection}.{number + 1}" for subsection, count in COUNTS.items() for number in range(count)]
assert len(ALL) == 517


def section(case):
    return int(case.split(".")[0])


def select(sections=None, fast=False):
    """The cases below `sections` ("1,6.4,9.1.6"), or all.

    `fast` leaves compression out, and of each subsection of 9 all but the first and the last: those are the extremes.
    """
    cases = ALL
    if sections:
        wanted = sections.split(",")
        for name in wanted:
            if not any(is_below(case, name) for case in ALL):
                raise ValueError(f"there is no section or case '{name}'")
        cases = [case for case in ALL if any(is_below(case, name) for name in wanted)]
    if fast:
        cases = [case for case in cases if section(case) < 12 and (section(case) != 9 or is_extreme(case))]
    return cases


def is_below(case, name):
    return f"{case}.".startswith(f"{name}.")


def is_extreme(case):
    subsection, number = case.rsplit(".", 1)
    return int(number) in (1, COUNTS[subsection])
