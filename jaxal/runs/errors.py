"""What ends a run, each a sentence for a person."""


class RunError(RuntimeError):
    """What a person has to decide or repair; its message names the file and cure."""


class WaitingError(RunError):
    """People have not answered everything that was asked; nothing is wrong."""


class StoppedError(KeyboardInterrupt):
    """Ctrl-C once there is a run, which can be continued."""
