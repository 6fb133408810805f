"""Models on NVIDIA GPUs of this machine: which there are, what they can do, how they are used."""
