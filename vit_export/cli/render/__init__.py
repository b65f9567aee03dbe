"""Everything that is printed. A report is lines and tables first; `output` prints them."""
