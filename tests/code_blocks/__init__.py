"""What running the pages' code blocks takes: a shell, the programs it finds, a folder."""
