"""How good masks are: benchmarks and data sets of one's own, metrics, tables and pictures.

Nothing heavy is imported here. scikit-learn, scipy and matplotlib (the extra `evaluation`) are
imported where they are needed.
"""
