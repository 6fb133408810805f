"""What faceblur makes of inputs of every kind, to tell whether a change of the code changed it.

Nothing here imports a module of faceblur: only its commands and `import faceblur` are used, so that
the same file runs beside any commit.
"""
