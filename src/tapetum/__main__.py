"""`python -m tapetum`, and `torchrun -m tapetum`: the command line."""

import sys

from tapetum.app.shell.main import main

if __name__ == "__main__":
    sys.exit(main())
