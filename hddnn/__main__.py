"""`python -m hddnn`: the command line."""

import sys

if not sys.flags.safe_path:
    del sys.path[0]  # the current folder: what lies there is the user's, and not to be imported

from hddnn.cli.main import main

main(prog_name="hddnn")
