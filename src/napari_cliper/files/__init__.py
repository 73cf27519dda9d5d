"""Pictures in; masks, sessions and reviews out and back in, in our format and other tools'."""
