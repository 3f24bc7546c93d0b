"""One run: recipes, the training loop, metrics, checkpoints."""
