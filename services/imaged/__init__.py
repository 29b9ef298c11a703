"""imaged: blobs, images, layers and root file systems. One owner for every byte that an image brings."""
