import gc
import threading
from contextlib import suppress

import pytest

from trainables.importing import uncollected


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_is_looked_for_as_before_once_the_last_block_has_ended(enabled):
    """Blocks of two threads overlap, and one of them fails."""
    was = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    inside, leave = threading.Event(), threading.Event()

    def other():
        with suppress(ImportError), uncollected():
            inside.set()
            leave.wait(60)
            raise ImportError

    thread = threading.Thread(target=other)
    try:
        with uncollected():
            thread.start()
            inside.wait(60)
            assert not gc.isenabled()
        assert not gc.isenabled()
        leave.set()
        thread.join()
        assert gc.isenabled() == enabled
    finally:
        (gc.enable if was else gc.disable)()
