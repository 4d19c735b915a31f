"""``python -m concord``."""

from concord.cli.app import main

main()
