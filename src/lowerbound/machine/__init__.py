"""What a program runs on and is asked by: the processor, the device of a model, freed memory, Ctrl-C."""
