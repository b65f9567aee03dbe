"""Anything a user has, read into an eager model."""
