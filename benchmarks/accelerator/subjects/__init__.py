"""What parts measure something of: pools, images, networks, and PyTorch's ways."""
