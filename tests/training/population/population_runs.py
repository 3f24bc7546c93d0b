"""What tests of populations share."""

from pathlib import Path

from sugar_search.training.population.train import train_population


def left(specs):
    return [(Path(spec.folder) / "weights.safetensors").read_bytes() for spec in specs]


def scores(steps, number):
    return [(step[number].epoch, step[number].train_loss, step[number].validation) for step in steps]


def interrupted(specs, epochs, stop=(), **options):
    """Trains for some epochs and closes the population."""
    population = train_population(specs, **options)
    for epoch in range(epochs):
        population.send(set(stop) if epoch == 1 else None)
    population.close()
