"""Training by several processes, networks that are divided among them, and by several threads."""
