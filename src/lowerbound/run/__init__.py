"""A trained run in use: the model, its samples and imputations, and what is measured or trained for it once and kept."""

from lowerbound.run.opened import Run, check_levels, open_denoiser, open_run

__all__ = ["Run", "check_levels", "open_denoiser", "open_run"]
