import threading
import time

import pytest

from trainables.prefetch import map_ahead


def threads_ahead():
    return [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]


@pytest.mark.parametrize(("ahead", "workers"), [(1, 1), (2, 1), (8, 3), (100, 4)])
@pytest.mark.parametrize("n", [0, 1, 2, 50])
def test_it_is_map(n, ahead, workers):
    assert list(map_ahead(lambda i: i * i, range(n), ahead=ahead, workers=workers)) == [i * i for i in range(n)]
    assert not threads_ahead()


def test_no_more_than_so_many_are_begun_before_they_are_taken():
    begun = []
    results = map_ahead(begun.append, range(100), ahead=3)
    for taken in range(1, 20):
        next(results)
        assert len(begun) <= taken + 3
    results.close()


def test_the_next_is_made_while_one_is_used():
    begun = [threading.Event() for _ in range(3)]
    results = map_ahead(lambda i: begun[i].set(), range(3), ahead=2)
    next(results)
    assert begun[2].wait(timeout=30)
    results.close()


def test_closing_ends_the_thread_and_what_waits_is_not_begun():
    begun = []

    def slow(i):
        begun.append(i)
        time.sleep(0.02)

    results = map_ahead(slow, range(1000), ahead=50)
    next(results)
    results.close()
    assert not threads_ahead()
    assert len(begun) < 10


def test_an_exception_is_raised_at_its_place_and_ends_the_thread():
    results = map_ahead(lambda i: 1 // (2 - i), range(10))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert not threads_ahead()
