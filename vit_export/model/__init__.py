"""A model as the stages know it, and the folder that re-expresses Vision Transformers."""
