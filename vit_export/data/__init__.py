"""Images on disk to model inputs, with Pillow and NumPy alone."""
