"""Whether a file is the model, and what it is worth on images."""
