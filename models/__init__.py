"""The models that ship: one TOML each, read through importlib.resources."""
