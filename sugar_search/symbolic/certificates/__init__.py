"""What is proven of a surrogate derivative on the whole real line, with ball arithmetic (python-flint)."""
