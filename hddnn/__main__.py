"""`python -m hddnn`: the command line."""

from hddnn.cli import main

main(prog_name="hddnn")
