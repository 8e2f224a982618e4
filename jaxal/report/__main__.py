"""`python -m jaxal.report RUN...` is `jaxal report`."""

import sys

from jaxal.report.command import main

sys.exit(main())
