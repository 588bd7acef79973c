"""Diffusion models with their likelihood."""
