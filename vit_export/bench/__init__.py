"""Speed of artifacts beside baselines and the roofline of the machine, in one interleaved run."""
