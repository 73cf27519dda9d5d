"""Tells how many examples the fuzz tests have run."""

from typing import Any

from fuzz.examples import COUNTS


def pytest_terminal_summary(terminalreporter: Any, exitstatus: int) -> None:
    if not COUNTS:
        return
    terminalreporter.section("fuzzing")
    for name, number in COUNTS.items():
        terminalreporter.write_line(f"{number:7d}  {name}")
    told = "none raised anything but NapariCliperError" if exitstatus == 0 else "see the failures"
    terminalreporter.write_line(f"{COUNTS.total():7d}  in all: {told}")
