"""Landmarks that other tools extracted, read into a data set of ours."""
