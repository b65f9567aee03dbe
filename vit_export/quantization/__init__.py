"""Quantization of a lowered ViT: calibration, schemes, plans, and graphs in fewer bits."""
