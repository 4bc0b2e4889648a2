"""Networks that judge, one architecture a file, with where its weights are and how to read them."""
