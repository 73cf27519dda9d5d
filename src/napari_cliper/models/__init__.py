"""Where models come from: presets, weights, and building the towers from them."""
