"""`python -m ioi_lab`: the same as the installed command `ioi-lab`."""

from ioi_lab.cli.main import main

if __name__ == "__main__":
    main()
