"""Whether one drainer is enough: from what is due, what was drained so far, and the time that is left."""

import math


def further(due: int, drained: int, seconds: float, left: float, most: int) -> int:
    """Return how many further drainers a backlog needs, at most `most`.

    `due`: jobs that are due and not claimed; `drained`: jobs settled in the `seconds` so far; `left`: seconds in
    which jobs may still be started. None are needed for what this drainer will do by itself.
    """
    if due <= 0 or most <= 0:
        return 0
    alone = drained / seconds * max(left, 0.0)
    if alone * (most + 1) <= due:
        return most
    return max(0, math.ceil(due / alone) - 1)
