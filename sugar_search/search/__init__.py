"""The search: spaces, samplers, racing, the study, and the engines that run it."""
