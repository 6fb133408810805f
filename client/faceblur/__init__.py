"""Find faces in pictures and mask them beyond recognition, served by NVIDIA Triton."""
