"""One process that only decodes and detects: the limit a job can be measured against.

Reads clip folders from the command line, one detector for all, cleared before each clip as results that do
not depend on the order of clips need it. Prints frames, Unix time of the first frame done, and of the end.
"""

import os
import sys
import time

import cv2
from mediapipe.python.solutions.holistic import Holistic

cv2.setNumThreads(1)
holistic = Holistic(model_complexity=1)
frames, first = 0, 0.0
for number, folder in enumerate(sys.argv[1:]):
    if number:
        holistic.reset()
    for name in sorted(name for name in os.listdir(folder) if name.endswith((".png", ".jpg"))):
        holistic.process(cv2.cvtColor(cv2.imread(os.path.join(folder, name)), cv2.COLOR_BGR2RGB))
        first = first or time.time()
        frames += 1
print(frames, first, time.time())
