"""What was computed, told to people: figures as tables and sentences, for a console and as one HTML file.

`evaluate` and `run` compute records and know nothing of this package; here each kind of record has a module with a function
from it to a `Description`: tables, findings, and a line about them.
"""
