"""Everything that is printed: reports are made of lines and tables, and `output` prints those."""
