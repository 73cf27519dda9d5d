"""What people do to masks, and what is kept of it: numpy, pydantic, scikit-image and its SciPy."""
