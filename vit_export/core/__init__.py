"""What everything stands on: errors, progress, numbers, and files that appear whole."""
