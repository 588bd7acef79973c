"""Noise schedules: what they are, the published curves and tables, and the learned ones."""

from lowerbound.schedule import betas
from lowerbound.schedule.base import CLEAN, Level, Schedule, Shifted
from lowerbound.schedule.betas import from_betas
from lowerbound.schedule.curves import (
    EDM,
    Cosine,
    LinearBeta,
    LinearGamma,
    RectifiedFlow,
    Sigmoid,
    Tabulated,
    WindowedCurve,
    geometric,
)
from lowerbound.schedule.learned import LearnedGamma, MonotoneWarp
from lowerbound.schedule.scaling import RECTIFIED_FLOW, SCALINGS, VARIANCE_EXPLODING, VARIANCE_PRESERVING, Scaling

__all__ = [
    "CLEAN",
    "EDM",
    "RECTIFIED_FLOW",
    "SCALINGS",
    "VARIANCE_EXPLODING",
    "VARIANCE_PRESERVING",
    "Cosine",
    "LearnedGamma",
    "Level",
    "LinearBeta",
    "LinearGamma",
    "MonotoneWarp",
    "RectifiedFlow",
    "Scaling",
    "Schedule",
    "Shifted",
    "Sigmoid",
    "Tabulated",
    "WindowedCurve",
    "betas",
    "from_betas",
    "geometric",
]
