"""`python -m lockstep.cli.performance [DOCS]`: write the page on performance anew."""

import sys
from pathlib import Path

from lockstep.cli.performance.page import write_page

if __name__ == "__main__":
    write_page(Path(*sys.argv[1:2]) if sys.argv[1:] else Path("docs"))
