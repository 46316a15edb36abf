"""Landmark arrays to Parquet and back; knows neither Ray nor MediaPipe."""
