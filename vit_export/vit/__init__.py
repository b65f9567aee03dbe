"""The model: its eager reference, its weights, and its export-friendly form."""
