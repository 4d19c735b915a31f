"""Images with a class for each pixel: readers, crops for training, deformation, weights of borders."""
