"""Work done by threads a little ahead of whoever takes its results."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Argument = TypeVar("Argument")
Result = TypeVar("Result")


def map_ahead(
    function: Callable[[Argument], Result], arguments: Iterable[Argument], workers: int = 1
) -> Generator[Result, None, None]:
    """The results of a function in the order of its arguments, computed by threads, at most two for each of them
    ahead of whoever takes them; without threads when it is taken.

    What the function raises is raised here. Closing the generator ends its threads.
    """
    if workers == 0:
        yield from map(function, arguments)
        return
    with ThreadPoolExecutor(workers, "ahead") as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for argument in arguments:
                waiting.append(pool.submit(function, argument))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
