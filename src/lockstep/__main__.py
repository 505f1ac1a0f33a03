"""Run the command line: `python -m lockstep` is the same as `lockstep`."""

from lockstep.cli.main import main

if __name__ == "__main__":
    main()
