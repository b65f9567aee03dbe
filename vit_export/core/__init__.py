"""What every other folder uses: errors, progress, numerics, JSON, and atomic files."""
