"""What a run of the cluster's tests has shown, for the table at its end."""

from attrs import define, field
from tabulate import tabulate

from tests.live.report import Fault


@define(eq=False)
class Report:
    """Filled by the tests of a run."""

    facts: list[tuple[str, str]] = field(factory=list)
    """What was done, and how it ended."""
    faults: list[Fault] = field(factory=list)
    logs: str = ""
    """Where the output of all programs and containers is, if a test failed."""

    def add(self, what: str, result: str) -> None:
        """One more row."""
        self.facts.append((what, result))

    def lines(self) -> list[str]:
        """The tables, as plain text."""
        found: list[str] = []
        if self.facts:
            found += [*tabulate(self.facts, ["what", "result"], tablefmt="simple").splitlines(), ""]
        if self.faults:
            rows = [(f.name, f.accepted, f.sending_gap, f.reading_gap, f.refused, f.lost, f.twice) for f in self.faults]
            headers = ["fault", "accepted", "send gap (s)", "read gap (s)", "refused", "lost", "twice"]
            found += [*tabulate(rows, headers, tablefmt="simple", floatfmt=".1f").splitlines(), ""]
        if self.logs:
            found.append(f"the output of all programs and containers: {self.logs}")
        return found
