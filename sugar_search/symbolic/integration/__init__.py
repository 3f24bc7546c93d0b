"""Antiderivatives: the activation behind a surrogate derivative."""
