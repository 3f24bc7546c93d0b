"""Many sentences of a grammar evaluated at once, in numpy, before sympy sees any of them."""
