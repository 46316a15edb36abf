"""The 68 points of MediaPipe's face mesh that the older PHOENIX scripts kept."""

# In the order of the scripts. The "outline" runs down the left half of the face only, from the forehead to
# the chin: the scripts took the first 17 points of MediaPipe's FACEMESH_FACE_OVAL, which goes round. Their
# files have it so, and so have these.
FACE_POINTS = {
    "outline": (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400),
    "right brow": (107, 55, 65, 52, 53),
    "left brow": (336, 296, 334, 293, 300),
    "nose": (19, 1, 2, 5, 4, 6, 98, 97, 94),
    "right eye": (33, 7, 163, 144, 145, 153),
    "left eye": (362, 382, 381, 380, 374, 373),
    "outer mouth": (61, 146, 91, 181, 84, 17, 314, 405, 320, 307, 375, 321),
    "inner mouth": (78, 95, 88, 178, 87, 14, 317, 402),
}
"""What the scripts call each run of points, and its points of MediaPipe's face mesh."""
FACE_INDICES = tuple(index for run in FACE_POINTS.values() for index in run)
