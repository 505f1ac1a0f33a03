"""`python -m lockstep.cli.reference [DIRECTORY]`: write all pages of the reference anew."""

import sys
from pathlib import Path

from lockstep.cli.reference.pages import write_pages

if __name__ == "__main__":
    write_pages(Path(*sys.argv[1:2]) if sys.argv[1:] else Path("docs/reference"))
