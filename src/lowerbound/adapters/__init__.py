"""What other libraries take in the place of their own models, one file each; each needs its library (extra `adapters`)."""
