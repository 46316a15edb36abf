"""Frames in, landmark arrays out; knows neither Ray nor Parquet."""
