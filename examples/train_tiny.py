"""Trains a small classifier straight from a Parquet data set: which clip is this window of frames from?

    python examples/train_tiny.py OUT [--label clip_id] [--steps 60]

OUT is what `landmarks extract` made. With --label gloss, label or signer it learns that column instead: what
a data set of isolated signs is for. On a CPU it takes some seconds. Needs torch.
"""

import argparse
import sys
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from extraction.errors import JobError
from storage.layout import point_layout
from storage.signals import interpolated, normalized
from storage.torch import LandmarkDataset, collate

FRAMES = 32
SHOULDERS = point_layout("pose+hands").index("pose", "left_shoulder", "right_shoulder")


def prepare(points, clip):
    """A random window of the clip, about the shoulders, in shoulder widths."""
    points = interpolated(points, longest_gap=3)
    points = normalized(points, SHOULDERS, (clip["width"] or 1) / (clip["height"] or 1))
    start = torch.randint(max(len(points) - FRAMES, 0) + 1, ()).item()
    return points[start : start + FRAMES]


class TinyClassifier(nn.Module):
    """Two convolutions over time, the mean over frames, a score a class."""

    def __init__(self, num_points: int, num_classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(num_points * 4, 64, kernel_size=5, padding=2),
            nn.ReLU(),
            nn.Conv1d(64, 64, kernel_size=5, padding=2),
            nn.ReLU(),
        )
        self.scores = nn.Linear(64, num_classes)

    def forward(self, points: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Scores of B clips: points float (B, T, N, 3), 0 where absent; mask bool (B, T, N) says where."""
        features = torch.cat([points, mask[..., None].float()], dim=-1).flatten(2)
        frames = mask.any(dim=2, keepdim=True).float()
        hidden = self.layers(features.transpose(1, 2)).transpose(1, 2)
        return self.scores((hidden * frames).sum(dim=1) / frames.sum(dim=1).clamp(min=1))


def main() -> int:
    """Returns the exit code: 0, or 2 where there is nothing to learn."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", metavar="OUT")
    parser.add_argument("--label", default="clip_id", choices=["clip_id", "gloss", "label", "signer"])
    parser.add_argument("--steps", type=int, default=60)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    try:
        clips = LandmarkDataset(arguments.out, transform=prepare)
    except JobError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    labels = clips.clip_ids if arguments.label == "clip_id" else clips.column(arguments.label)
    classes = sorted({label for label in labels if label is not None})
    if len(classes) < 2:
        print(f"error: expected 2 classes or more in {arguments.label}, found {classes}", file=sys.stderr)
        return 2
    print(f"{len(clips)} clips of {len(classes)} classes, {len(clips.layout)} points a frame")
    train(clips, [classes.index(label) if label in classes else None for label in labels], arguments.steps)
    return 0


def train(clips: LandmarkDataset, targets: list[int | None], steps: int) -> None:
    """Takes so many steps and prints the loss ten times on the way."""
    labelled = [position for position, target in enumerate(targets) if target is not None]
    target_of = dict(zip(clips.clip_ids, targets, strict=True))
    model = TinyClassifier(len(clips.layout), len(set(targets) - {None}))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    sampler = torch.utils.data.RandomSampler(labelled, replacement=True, num_samples=steps * 8)
    batches = torch.utils.data.BatchSampler([labelled[n] for n in sampler], batch_size=8, drop_last=False)
    loader = DataLoader(clips, batch_sampler=batches, collate_fn=partial(collate, fill=0.0))
    losses = []
    for step, batch in enumerate(loader, start=1):
        target = torch.tensor([target_of[clip_id] for clip_id in batch["clip_id"]])
        scores = model(batch["points"], batch["mask"])
        loss = nn.functional.cross_entropy(scores, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if step % max(steps // 10, 1) == 0:
            right = (scores.argmax(dim=1) == target).float().mean()
            recent = np.mean(losses[-max(steps // 10, 1) :])
            print(f"step {step:4}: loss {recent:.4f}, {right:.0%} of the batch right", flush=True)


if __name__ == "__main__":
    sys.exit(main())
