"""The way of the scripts that people use today, written anew from what they document.

    python peers_pool.py fresh|kept|static OUT.pkl WORKERS FOLDER...

A multiprocessing pool; the clips dealt out to it beforehand, an equal number to each; FaceMesh, Hands and
Pose for every frame; 68 points of the face; the first hand found is the right one; frames without anybody are
left out; everything is kept in memory and written when all is done. The detectors are made afresh for each
clip; or kept, so that what they track runs on from one clip into the next; or static, each frame for itself.
Prints for each worker: frames, Unix time of its first frame done and of its last.
"""

import multiprocessing
import os
import pickle
import sys
import time

import cv2
import mediapipe as mp
import numpy as np

FACE = """10 338 297 332 284 251 389 356 454 323 361 288 397 365 379 378 400 107 55 65 52 53 336 296 334 293
300 19 1 2 5 4 6 98 97 94 33 7 163 144 145 153 362 382 381 380 374 373 61 146 91 181 84 17 314 405 320 307 375
321 78 95 88 178 87 14 317 402"""
FACE_POINTS = [int(point) for point in FACE.split()]
CONFIDENCE = {"min_detection_confidence": 0.5, "min_tracking_confidence": 0.5}


def points(landmarks, chosen=None):
    every = landmarks.landmark
    return np.array([(p.x, p.y, p.z) for p in ([every[i] for i in chosen] if chosen else every)], np.float32)


def extract_frame(detectors, image):
    rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    faces, hands, pose = (detector.process(rgb) for detector in detectors)
    found = dict.fromkeys(("face", "left_hand", "right_hand", "pose"))
    if faces.multi_face_landmarks:
        found["face"] = points(faces.multi_face_landmarks[0], FACE_POINTS)
    for name, hand in zip(("right_hand", "left_hand"), hands.multi_hand_landmarks or (), strict=False):
        found[name] = points(hand)
    if pose.pose_landmarks:
        found["pose"] = points(pose.pose_landmarks)
    if all(part is None for part in found.values()):
        return None
    return {**found, "image_shape": image.shape[:2]}


def make_detectors(is_static):
    solutions, how = mp.solutions, {"static_image_mode": is_static, **CONFIDENCE}
    return (
        solutions.face_mesh.FaceMesh(max_num_faces=1, **how),
        solutions.hands.Hands(max_num_hands=2, **how),
        solutions.pose.Pose(model_complexity=1, **how),
    )


def process_chunk(job):
    mode, folders = job
    cv2.setNumThreads(1)
    detectors = make_detectors(mode == "static")
    results, frames, first = [], 0, 0.0
    for number, folder in enumerate(folders):
        if number and mode == "fresh":
            for detector in detectors:
                detector.close()
            detectors = make_detectors(is_static=False)
        for name in sorted(os.listdir(folder)):
            image = cv2.imread(os.path.join(folder, name))
            if image is None:
                continue
            found = extract_frame(detectors, image)
            frames += 1
            first = first or time.time()
            if found is not None:
                results.append((found, os.path.join(folder, name), os.path.basename(folder)))
    return results, (frames, first, time.time())


def main():
    mode, out, workers, folders = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:]
    size = -(-len(folders) // workers)
    chunks = [(mode, folders[i : i + size]) for i in range(0, len(folders), size)]
    with multiprocessing.Pool(workers) as pool:
        done = pool.map(process_chunk, chunks)
    keypoints, paths, ids = zip(*(result for results, _ in done for result in results), strict=True)
    split = {"keypoints": list(keypoints), "image_paths": list(paths), "video_ids": list(ids)}
    with open(out, "wb") as file:
        pickle.dump({"train": split, "stats": {}, "keypoint_info": {"total_points": 143}}, file)
    for _, (frames, first, last) in done:
        print(frames, first, last)


if __name__ == "__main__":
    main()
