"""`python -m rllib_dbf` is the `rllib` command."""

from rllib_dbf.cli.app import main

if __name__ == "__main__":
    main()
