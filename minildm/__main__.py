"""`python -m minildm` is the command `minildm`."""

from .cli import main

if __name__ == "__main__":
    main()
