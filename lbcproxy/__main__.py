"""`python -m lbcproxy` and the `lbcproxy` command."""

from lbcproxy.cli.main import main

if __name__ == "__main__":
    main()
