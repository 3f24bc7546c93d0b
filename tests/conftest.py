"""Stands here so that every folder of tests can import `makers`."""
