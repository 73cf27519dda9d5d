import pytest

from napari_cliper.cliper.steps import Step, Steps, drain


def count(closed: list[bool]) -> Steps[str]:
    try:
        yield Step("one", 0, 2)
        yield Step("two", 1, 2)
        return "result"
    finally:
        closed.append(True)


def test_drain_shows_every_step_and_returns_the_result() -> None:
    closed: list[bool] = []
    seen: list[str] = []
    assert drain(count(closed), lambda step: seen.append(step.name)) == "result"
    assert seen == ["one", "two"]
    assert closed


def test_an_error_in_the_listener_ends_the_work() -> None:
    closed: list[bool] = []

    def refuse(step: Step) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drain(count(closed), refuse)
    assert closed
