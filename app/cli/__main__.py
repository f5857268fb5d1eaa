"""`python -m app.cli` is `cdp`."""

from app.cli.main import main

main()
