"""``python -m lcot``."""

from lcot.cli.main import main

if __name__ == "__main__":
    main()
