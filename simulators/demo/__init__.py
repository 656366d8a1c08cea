"""The demonstration: real processes around a simulated plant, one whole turn of the loop."""

from simulators.demo.plan import DemoPlan, Learning, Photographs
from simulators.demo.run import run_demo

__all__ = ["DemoPlan", "Learning", "Photographs", "run_demo"]
