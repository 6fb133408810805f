"""Child processes and what passes between them: messages, frames, wake-ups."""
