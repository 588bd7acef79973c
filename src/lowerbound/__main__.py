"""`python -m lowerbound` is `lowerbound`."""

from lowerbound.cli.main import main

main()
