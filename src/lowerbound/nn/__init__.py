"""Networks: (x, gamma, cond) -> tensor, with no diffusion inside."""
