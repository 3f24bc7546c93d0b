"""Surrogates as torch activations: forward gradient injection, modules, conversion, export."""
