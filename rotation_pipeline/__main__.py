"""`python -m rotation_pipeline` is `rotation`."""

from rotation_pipeline.cli import main

if __name__ == "__main__":
    main()
