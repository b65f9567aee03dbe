"""How fast artifacts are, beside their peers and the machine's limit, in one interleaved run."""
