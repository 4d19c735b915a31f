"""Networks of binary layers for use: weights of 1 bit, and convolutions that count bits."""
