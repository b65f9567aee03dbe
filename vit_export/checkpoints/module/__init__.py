"""A module of the user's own as the model: its code is imported, built, filled and checked."""
