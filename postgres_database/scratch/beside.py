"""Threads beside the main one, which work on scratch databases."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager


@contextmanager
def threads() -> Iterator[ThreadPoolExecutor]:
    """Yield a pool of threads, all of which are waited for.

    After an error or Ctrl-C they are not: the session drops their databases, which ends what they do there.
    """
    pool = ThreadPoolExecutor()
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()
