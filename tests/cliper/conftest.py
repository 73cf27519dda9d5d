"""What the parity tests have to say beyond passing."""

import pytest

_NOTES = pytest.StashKey[list[str]]()


@pytest.fixture
def parity_report(request: pytest.FixtureRequest) -> list[str]:
    """Lines to show when all tests are over."""
    return request.config.stash.setdefault(_NOTES, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which cases this machine's arithmetic can only compare up to the U-Net's rounding."""
    notes = terminalreporter.config.stash.get(_NOTES, [])
    if notes:
        terminalreporter.section("reference cases compared up to rounding (docs/parity.md)")
        terminalreporter.line("\n".join(notes))
