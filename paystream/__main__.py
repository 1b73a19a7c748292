"""`python -m paystream`: the same as the command `paystream`."""

from paystream.cli import main

if __name__ == "__main__":
    main()
