"""Data sets as people have them on disk: layouts and annotations, one small module each."""
