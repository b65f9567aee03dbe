"""TensorRT in its three forms: what is installed, how an engine is built, what is said of it."""
