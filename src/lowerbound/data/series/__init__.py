"""Series: rows along a clock, cut into windows."""
