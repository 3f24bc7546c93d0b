"""Where runs execute: local worker processes or Ray Tune."""
