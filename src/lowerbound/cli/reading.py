"""The options of several verbs that say how their DATA are read."""

import tyro

from lowerbound.data import Reading

DataReading = tyro.conf.OmitArgPrefixes[Reading]
"""The options that say how a verb's DATA are read, where that differs from the run's own data."""
