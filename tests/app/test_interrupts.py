"""An interrupt that Python drops is not forgotten."""

import gc
import os
import signal
import weakref

import pytest

from jaxal.app.interrupts import heeded


class Thing:
    pass


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_lost_in_a_callback_is_heeded():
    def press(_):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):  # the signal is seen here, and its exception dropped
            pass

    with pytest.raises(KeyboardInterrupt), heeded() as heed:
        thing = Thing()
        held = weakref.ref(thing, press)
        heed()
        del thing
        gc.collect()
        assert held() is None
        heed()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_an_interrupt_nothing_happens():
    with heeded() as heed:
        heed()
