"""``python -m topotune``: the command line where the ``topotune`` script is not on the path, as in a Ray job."""

import sys

from topotune.cli import main

sys.exit(main())
