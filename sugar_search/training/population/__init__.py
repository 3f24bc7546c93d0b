"""Population training: many small networks, each with its own surrogate and seed, in one batch."""
