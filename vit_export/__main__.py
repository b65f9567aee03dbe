"""`python -m vit_export`."""

from vit_export.cli import main

main()
