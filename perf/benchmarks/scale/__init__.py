"""What more workers bring, what a file costs beside its masking, and what a thousand would load."""
