"""A seeded A-share market whose truth is known: the embedded default source, and the only one with something planted."""

from rotation_pipeline.market.simulation.engine import Simulator
from rotation_pipeline.market.simulation.market import SimulatedMarket, market_of, simulate
from rotation_pipeline.market.simulation.options import SimulationError, SimulationOptions

__all__ = ["SimulatedMarket", "SimulationError", "SimulationOptions", "Simulator", "market_of", "simulate"]
