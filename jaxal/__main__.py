"""`python -m jaxal` is `jaxal`."""

import sys

from jaxal.app.cli import main

if __name__ == "__main__":
    sys.exit(main())
