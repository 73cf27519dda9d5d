"""How long each step takes, beside the same step done the plain way in the same run."""
