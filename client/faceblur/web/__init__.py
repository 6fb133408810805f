"""A page of this machine for people: drop photos and videos, save them masked."""
