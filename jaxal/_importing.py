"""Nothing is collected while jaxal is imported.

JAX calls back from the garbage collector, and Python drops an interrupt there: one in
five Ctrl-C while modules were imported would be lost. It takes less time, too.
"""

import gc

_was_enabled = gc.isenabled()
gc.disable()


def end() -> None:
    """Collects again, if that was so before."""
    if _was_enabled:
        gc.enable()
