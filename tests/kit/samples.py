"""A matrix that is too long to be run each time: a seed picks what is."""

import random
from collections.abc import Sequence
from typing import Any

import pytest


def sampled(cases: Sequence[tuple[Any, ...]], always: int, full: int, seed: int) -> list[Any]:
    """All cases in their order, as parameters: so many of them in `make test`, so many more in `make test-all`, and the
    rest on demand."""
    order = random.Random(seed).sample(range(len(cases)), len(cases))
    marks = {n: () if rank < always else pytest.mark.full if rank < always + full else pytest.mark.matrix
             for rank, n in enumerate(order)}  # fmt: skip
    return [pytest.param(*case, marks=marks[n]) for n, case in enumerate(cases)]
