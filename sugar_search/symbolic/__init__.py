"""Surrogate derivatives as data: parsing, families, grammar. No torch here."""
