"""Processes that die at the n-th thing they do, to see what their restart finds."""

import contextlib
import os
import runpy
import shutil
import signal
import sys
from pathlib import Path

import numpy as np


class Killed(BaseException):
    """What a simulated kill raises: no `except Exception` hears of it."""


class Death:
    """Counts what touches the disk or the eyes, and dies after `at` events.

    `at` may also be a name and a number, to die at that one of the events of that name.

    From then on nothing more is written, as after a real kill, whatever `finally`
    and `except` clauses still try.
    """

    def __init__(
        self, at: int | tuple[str, int] | None, *, is_real: bool = False
    ) -> None:
        self.at = at
        self.is_real = is_real
        self.count = 0
        self.is_dead = False
        self.names: list[str] = []

    def event(self, name: str, before_dying=lambda: None) -> None:
        if self.is_dead:
            raise Killed(name)
        self.names.append(name)
        self.count += 1
        if self._is_due(name):
            before_dying()
            if self.is_real:
                os.kill(os.getpid(), signal.SIGKILL)
            self.is_dead = True
            raise Killed(name)

    def _is_due(self, name: str) -> bool:
        if isinstance(self.at, tuple):
            return (name, self.names.count(name)) == self.at
        return self.at is not None and self.count > self.at

    @contextlib.contextmanager
    def installed(self):
        """Watches the functions through which runs touch files, and their bars."""
        from jaxal.app import progress

        write, rmtree = os.write, shutil.rmtree
        save = np.savez

        def dying_write(file, content):
            def tear():
                write(file, content[: len(content) // 2])

            self.event("write", tear)
            return write(file, content)

        def dying_rmtree(path, *args, **kwargs):
            def tear():
                files = [p for p in Path(path).rglob("*") if p.is_file()]
                for file in files[: len(files) // 2]:
                    file.unlink()

            self.event("rmtree", tear)
            rmtree(path, *args, **kwargs)

        def dying_save(path, *arrays, **named):
            def tear():
                save(path, *arrays, **named)
                os.truncate(path, os.stat(path).st_size // 2)

            self.event("save", tear)
            save(path, *arrays, **named)

        patches = [
            (os, "write", dying_write),
            (shutil, "rmtree", dying_rmtree),
            (np, "savez", dying_save),
            *(
                (os, name, self._counted(name))
                for name in ("fsync", "replace", "rename")
            ),
            (progress.Terminal, "phase", self._phase(progress.Terminal.phase)),
        ]
        with contextlib.ExitStack() as stack:
            for owner, name, replacement in patches:
                stack.callback(setattr, owner, name, getattr(owner, name))
                setattr(owner, name, replacement)
            yield self

    def _counted(self, name):
        function = getattr(os, name)

        def counted(*args, **kwargs):
            self.event(name)
            return function(*args, **kwargs)

        return counted

    def _phase(self, phase):
        def dying_phase(display, name, index):
            self.event(name)
            show = phase(display, name, index)

            def progress(done, total):
                if done == 1 or done == total:  # how often depends on the machine
                    self.event(f"{name} {done == total}")
                show(done, total)

            return progress

        return dying_phase


if __name__ == "__main__":  # python -m tests.dying N WORDS: `jaxal WORDS`, killed
    from jaxal.app import cli

    with Death(int(sys.argv[1]), is_real=True).installed():
        if sys.argv[2].endswith(".py"):  # a program
            runpy.run_path(sys.argv[2])
            sys.exit()
        sys.exit(cli.main(sys.argv[2:]))
