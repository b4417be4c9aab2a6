"""What was measured: each server's answers to each scenario, and the failures among them."""

from statistics import median

# So many failures of a server in a scenario, and it isn't asked again.
MAX_FAILURES = 2


class Results:
    """By scenario and server, one entry a round: the load generator's answer, or a reason."""

    def __init__(self):
        self._answers = {}
        self._failures = {}

    def add(self, key, server, answer):
        """One round's answer."""
        self._answers.setdefault((key, server), []).append(answer)

    def fail(self, key, server, reason):
        """One round that came to nothing."""
        self._failures.setdefault((key, server), []).append(reason)

    def has_given_up(self, key, server):
        """Whether it has failed so often that it needs no more rounds."""
        return len(self._failures.get((key, server), [])) >= MAX_FAILURES

    def failures(self, key, server):
        """Why it has failed, once a failure."""
        return self._failures.get((key, server), [])

    def values(self, key, server, value):
        """What `value` makes of each answer that there is."""
        made = [value(answer) for answer in self._answers.get((key, server), [])]
        return [number for number in made if number is not None]

    def median(self, key, server, value):
        """The median of these values, if there are any."""
        values = self.values(key, server, value)
        return median(values) if values else None

    def share(self, key, server, field, each):
        """The sum of one field over all rounds, for each of another: what is too coarse in one."""
        answers = self._answers.get((key, server), [])
        count = sum(answer[each] for answer in answers)
        return sum(answer[field] for answer in answers) / count if count else None

    def disturbance(self, keys):
        """The CPU that others took meanwhile, in percent: median and maximum."""
        others = [
            answer["others_cpu_percent"]
            for (key, _), answers in self._answers.items() if key in keys
            for answer in answers if answer.get("others_cpu_percent") is not None
        ]
        return (median(others), max(others)) if others else None

    def raw(self):
        """All of it, for a file."""
        keys = sorted({*self._answers, *self._failures})
        return [
            {
                "scenario": key,
                "server": server,
                "answers": self._answers.get((key, server), []),
                "failures": self._failures.get((key, server), []),
            }
            for key, server in keys
        ]
