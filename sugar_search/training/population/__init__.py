"""Population training: many small networks, each with its own surrogate and seed, in one batch."""

from sugar_search.training.population.servable import kin, servable
from sugar_search.training.population.train import train_population

__all__ = ["kin", "servable", "train_population"]
