"""How good a model is: likelihood yardsticks, figures about samples, pictures and the report."""
