"""Energy: meters, measurement and estimates. Every number is a :class:`Figure` with a status."""

from .costs import TABLES, CostTable, cost_table
from .estimation import EnergyEstimate, Work, estimate
from .figure import ESTIMATED, MEASURED, UNAVAILABLE, Figure
from .measurement import EnergyMeasurement, measure, recommended_window_s
from .meter import Channel, Energy, Meter, Recording, UnavailableError
from .sources import AUTO, OFF, Probe, list_meters, probe_all, select

__all__ = [
    "AUTO",
    "ESTIMATED",
    "MEASURED",
    "OFF",
    "TABLES",
    "UNAVAILABLE",
    "Channel",
    "CostTable",
    "Energy",
    "EnergyEstimate",
    "EnergyMeasurement",
    "Figure",
    "Meter",
    "Probe",
    "Recording",
    "UnavailableError",
    "Work",
    "cost_table",
    "estimate",
    "list_meters",
    "measure",
    "probe_all",
    "recommended_window_s",
    "select",
]
