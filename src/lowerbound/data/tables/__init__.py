"""Tables: how their files are written, what their columns are, and how the values of each become entries of x."""
