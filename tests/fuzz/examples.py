"""How many random examples each fuzz test runs, and what they may raise."""

import functools
import os
from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings

from napari_cliper.errors import NapariCliperError

# Of a test of weight 1; the weights of all tests come to about 2.
EXAMPLES = int(os.environ.get("CLIPER_FUZZ_EXAMPLES", "250"))
COUNTS: Counter[str] = Counter()  # how many each test has run


def fuzz(weight: float, **strategies: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a test of a function of random arguments.

    Parameters
    ----------
    weight : float
        How many times `EXAMPLES` it runs; one with parameters does so for each of them.
    **strategies
        What the arguments are drawn from.
    """

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def counted(*args: Any, **kwargs: Any) -> None:
            COUNTS[test.__name__] += 1
            test(*args, **kwargs)

        # Without the variable the same examples each time: a finding in CI can be found again.
        chosen = settings(
            max_examples=max(2, round(EXAMPLES * weight)),
            deadline=None,
            derandomize="CLIPER_FUZZ_EXAMPLES" not in os.environ,
            suppress_health_check=list(HealthCheck),
            phases=[
                Phase.generate,
                Phase.shrink,
            ],  # explaining a fault takes longer than finding it
        )
        return chosen(given(**strategies)(counted))

    return decorate


def allowed(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What a function returns, None if it refuses with our own error; others are findings."""
    try:
        return function(*args, **kwargs)
    except NapariCliperError as error:
        message = str(error)
    assert message.strip(), "an error that says nothing"
    return None
