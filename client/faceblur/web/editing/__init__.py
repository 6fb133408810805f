"""The addresses with which somebody looks at a result, frame by frame, and corrects it."""
