"""Pictures read, label pictures and overlays written."""
