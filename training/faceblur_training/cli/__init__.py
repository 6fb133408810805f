"""The command line `faceblur-train`."""
