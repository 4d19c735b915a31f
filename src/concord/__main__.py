"""The process of the command: ``concord`` and ``python -m concord``."""

from concord.cli import signals


def main() -> None:
    """Hear signals before anything else is imported, then run one verb."""
    signals.listen()
    from concord.cli.app import main as run

    try:
        run()
    except SystemExit as left:
        signals.PROCESS.leaving(left.code if isinstance(left.code, int) else int(left.code is not None))
        raise


if __name__ == "__main__":
    main()
