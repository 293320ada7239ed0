"""`python -m metal9 …` is `beta9 …` with the names of Apple's GPUs."""

from metal9.cli import main

if __name__ == "__main__":
    main()
