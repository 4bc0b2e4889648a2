"""One solver a file: a step over `denoise(x, sigma)`, and the coefficients that it needs."""
