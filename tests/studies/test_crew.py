"""Workers of a study: Ctrl-C does not wait for what cannot be called off."""

import os
import signal
import threading
import time

import pytest

from jaxal import make_pool
from jaxal.runs.errors import StoppedError
from jaxal.studies import crew
from tests.toys import blobs


class Told:
    """A line that nobody reads."""

    def told(self, *args):
        pass

    message = close = told


@pytest.mark.parametrize(("busy", "most"), [(60.0, 10.0), (0.3, 5.0)])
def test_ctrl_c_ends_a_study_whose_workers_are_busy(monkeypatch, busy, most):
    begun, free = threading.Event(), threading.Event()

    def compiling(block, engine):
        begun.set()
        free.wait(busy)

    def press():
        begun.wait(60)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(crew, "run_block", compiling)
    threading.Thread(target=press).start()
    start = time.monotonic()
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(StoppedError):
        pool = make_pool(blobs()[0])
        crew.work([1, 2, 3], pool, Told(), workers=2, save_every=1.0)
    free.set()
    assert time.monotonic() - start < most
    assert signal.getsignal(signal.SIGINT) is before
