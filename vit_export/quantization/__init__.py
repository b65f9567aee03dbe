"""Fewer bits for a lowered ViT: what is measured, what is chosen, and how a graph says it."""
