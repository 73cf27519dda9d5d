"""Class lists and their colours: numpy and pydantic only."""
