"""Class lists, what people do to masks, and what is kept of it. No torch, no files."""
