"""The studio: a page in the browser in which a run is looked at and played with."""
