"""An interrupt that Python drops is not forgotten."""

import gc
import os
import signal
import subprocess
import sys
import time
import weakref

import pytest

from jaxal.app.interrupts import heeded, leave


class Thing:
    pass


def press_and_lose_it():
    def press(_):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):  # the signal is seen here, and its exception dropped
            pass

    thing = Thing()
    held = weakref.ref(thing, press)
    del thing
    gc.collect()
    assert held() is None


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_lost_in_a_callback_is_heeded():
    with pytest.raises(KeyboardInterrupt), heeded() as heed, heeded() as within:
        heed()
        press_and_lose_it()
        within()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def work(until):  # a loop that ends a `with` is not part of it, in Python 3.13
    while time.monotonic() < until:
        pass


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.skipif(os.name == "nt", reason="has no alarms")
def test_where_nothing_asks_for_it_it_is_raised_again():
    alarm = signal.getsignal(signal.SIGALRM)
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt), heeded():
        press_and_lose_it()
        work(begun + 10)
    assert time.monotonic() < begun + 5
    assert signal.getsignal(signal.SIGALRM) is alarm
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_nothing_is_collected_while_jaxal_is_imported():
    program = (
        "import gc, sys; found = [False]\n"
        "def note(*_): found.append('jax' in sys.modules and 'jaxal.loop' not in "
        "sys.modules)\n"
        "gc.callbacks.append(note); import jaxal; print(any(found), gc.isenabled())\n"
        "import jaxal.app.cli; print('jaxal.runs' in sys.modules)"
    )
    words = [sys.executable, "-c", program]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert said.split() == ["False", "True", "False"]


def test_without_an_interrupt_nothing_happens():
    with heeded() as heed:
        heed()


def test_a_process_that_was_stopped_does_not_wait_for_its_threads():
    program = """
import threading, time
from jaxal.app.interrupts import leave
threading.Thread(target=time.sleep, args=(60,)).start()
print("told", end="")
leave(130)
"""
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stdout, done.stderr) == (130, "told", "")
    assert leave(0) == 0 and leave(1) == 1


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ("return None", 0, ""),
        ("return 3", 3, ""),
        ("raise KeyboardInterrupt", 130, "the same command again"),
    ],
)
def test_a_script_ends_as_it_should(body, status, said):
    program = f"""
from jaxal.app.interrupts import script
def main(words):
    {body}
script(main)
"""
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, capture_output=True, text=True, timeout=50)
    assert done.returncode == status and said in done.stderr
    assert "Traceback" not in done.stderr
