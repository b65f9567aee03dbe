"""Checkpoints, modules in memory and presets, read into an eager model."""
