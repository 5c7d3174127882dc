"""Random views of images and random masks, on the device: pure functions of a key and a recipe."""
