"""A surrogate as data: cubic pieces in one block of 16 KiB that every kernel reads."""
