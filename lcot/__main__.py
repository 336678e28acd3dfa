"""``python -m lcot``."""

from lcot.cli import main

if __name__ == "__main__":
    main()
