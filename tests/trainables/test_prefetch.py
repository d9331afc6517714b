import threading

import pytest

from trainables.data.prefetch import map_ahead


def threads_ahead():
    return [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]


@pytest.mark.parametrize("workers", [0, 1, 2, 5])
@pytest.mark.parametrize("n", [0, 1, 2, 50])
def test_it_is_map(n, workers):
    assert list(map_ahead(lambda i: i * i, range(n), workers)) == [i * i for i in range(n)]
    assert not threads_ahead()


@pytest.mark.parametrize("workers", [1, 3])
def test_no_more_than_two_each_are_begun_before_they_are_taken(workers):
    begun = []
    results = map_ahead(begun.append, range(100), workers)
    for taken in range(1, 20):
        next(results)
        assert len(begun) <= taken + 2 * workers
    results.close()


def test_the_next_is_made_while_one_is_used():
    begun = [threading.Event() for _ in range(3)]
    results = map_ahead(lambda i: begun[i].set(), range(3))
    next(results)
    assert begun[2].wait(timeout=30)
    results.close()


def test_closing_ends_the_threads_and_what_waits_is_not_begun():
    begun, may_go_on = [], threading.Event()

    def held_up(i):
        begun.append(i)
        if i:
            may_go_on.wait(timeout=30)

    results = map_ahead(held_up, range(1000))
    next(results)
    threading.Timer(0.5, may_go_on.set).start()
    results.close()
    assert not threads_ahead()
    assert begun in ([0], [0, 1])


def test_an_exception_is_raised_at_its_place_and_ends_the_thread():
    results = map_ahead(lambda i: 1 // (2 - i), range(10))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert not threads_ahead()
