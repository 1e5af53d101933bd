"""The command `sweephand`, also as `python -m sweephand`."""

from sweephand.layout import module


def main() -> None:
    """Run the command line; it lives in `infra/cli`."""
    module("infra.cli.app").main()


if __name__ == "__main__":
    main()
