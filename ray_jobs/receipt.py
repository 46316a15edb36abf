"""What a worker says of a shard when it is done with it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one shard.

    Attributes:
        shard: Its number.
        clips: Clips that it holds.
        failed: Clips that failed.
        frames: Frame positions of its clips.
        unreadable_frames: Of these, frames that could not be read, without those of an earlier job.
        seconds: Wall time it took.
        worker: Who made it.
        first_frame_at: Unix time at which that worker had its first frame.
        finished_at: Unix time at which the shard stood.
        stop: Why the job has to stop; "" otherwise. Ray keeps of an exception only its text, in a trace.
        events: What happened to the detector beside clips, counted; "lost: " and a reason for each loss.
        log_lines: Lines that native code wrote, by meaning.
        notice: What a person should know of this worker; "" otherwise.
        reasons: Failed clips by reason.
        examples: Reason to what one of these clips said.
        kept: Of the clips, those that an earlier job had done before it was killed.
        kept_frames: Frame positions of these.
        bad_node: Ray's id of the node that gave the shard back unmade; "" otherwise.
    """

    shard: int
    clips: int
    failed: int
    frames: int
    unreadable_frames: int
    seconds: float
    worker: str
    first_frame_at: float
    finished_at: float
    stop: str = ""
    events: Mapping[str, int] = field(default_factory=dict)
    log_lines: Mapping[str, int] = field(default_factory=dict)
    notice: str = ""
    reasons: Mapping[str, int] = field(default_factory=dict)
    examples: Mapping[str, str] = field(default_factory=dict)
    kept: int = 0
    kept_frames: int = 0
    bad_node: str = ""

    def to_json(self) -> str:
        """As it travels through Ray Data, whose columns know no mappings."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Receipt":
        """Inverse of :meth:`to_json`."""
        return cls(**json.loads(text))
