"""Quantization of a lowered ViT: calibration, schemes, plans, and their nodes in a graph."""
