"""What the parity tests have to say beyond passing."""

import pytest

_NOTES = pytest.StashKey[list[str]]()


@pytest.fixture
def parity_report(request: pytest.FixtureRequest) -> list[str]:
    """Lines to show when all tests are over."""
    return request.config.stash.setdefault(_NOTES, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which cases are not compared in one piece, since rounding differs on this machine."""
    notes = terminalreporter.config.stash.get(_NOTES, [])
    if notes:
        terminalreporter.section(
            "reference cases compared in stages on this processor (docs/parity.md)"
        )
        terminalreporter.line("\n".join(notes))
