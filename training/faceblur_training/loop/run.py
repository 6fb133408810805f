"""A training run in its folder: checkpoints, metrics, validations, and picking it up again."""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from faceblur.errors import InputError, ModelError
from faceblur_export.network import YOLOv5Face, build
from faceblur_export.weights.checkpoint import load_model
from faceblur_training.data import sampling
from faceblur_training.data.pack import Pack
from faceblur_training.loop import checkpointing, validation
from faceblur_training.loop.history import History
from faceblur_training.loop.interruption import interruptible
from faceblur_training.loop.progress import Progress
from faceblur_training.loop.replicas import Losses
from faceblur_training.loop.run_plan import RunPlan
from faceblur_training.loop.settings import Settings
from faceblur_training.loop.trainer import Trainer

log = logging.getLogger(__name__)

ROW_EVERY = 25
"""Steps that one row of the metrics averages over."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        step: Steps done.
        ap50: AP50 of the last validation; NaN when there was none.
        signal_exit_code: 0, or the exit code for the signal that ended it early.
    """

    step: int
    ap50: float
    signal_exit_code: int = 0


class TrainingRun:
    """One run, fresh or continued.

    Files in its folder: `run.json` (the plan), `last.pt`, `best.pt` (by AP50 of the held-out
    images), `stable.pt` (where the decay of a `wsd` schedule began: a longer run can go on from
    there), `metrics.csv`, `metrics.png`.

    Args:
        folder: Of the run.
        plan: What to do.
        resume: Continue from `last.pt`, or from this checkpoint.
        say: Gets the progress lines.

    Raises:
        InputError: Data or settings cannot be used.
        ModelError: A checkpoint cannot be used, or is of another variant.
        OutputError: The folder cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        plan: RunPlan,
        *,
        resume: Path | None = None,
        say: Callable[[str], None] = log.info,
    ) -> None:
        self.folder = folder
        self.plan = plan
        self._say = say
        start, teacher = networks(
            plan.settings, weights=None if resume else plan.weights, teacher=plan.teacher
        )
        pack = Pack(plan.data)
        entries = pack.entries()
        if teacher is None and not any(len(e.faces) for e in entries if e.labelled):
            raise InputError(
                f"{plan.data} holds no labelled face to learn from; add labels or give --teacher"
            )
        split = sampling.split(entries, taught=teacher is not None)
        self._validated = np.flatnonzero(split.validated).tolist()
        self._pack = pack
        self.trainer = Trainer(
            plan.settings,
            pack,
            weights=sampling.image_weights(entries) * split.trained,
            teacher=teacher,
            start=start.state_dict() if start else None,
        )
        if resume is not None:
            content = checkpointing.load(resume, variant=plan.settings.variant)
            if not content["training"]:
                raise ModelError(f"{resume} holds weights only; start a new run with --weights")
            self.trainer.restore(content["model"], content["training"])
        self.history = History(folder, step=self.trainer.step)
        plan.write(folder)
        if (split.trained & split.validated).any():
            say(
                f"too few images to hold {sampling.FEWEST_HELD_OUT} of them out: AP50, and what "
                "is best by it, come from images that are trained on"
            )

    def train(self, *, until: int | None = None) -> Outcome:
        """Train to the end, or until so many steps are done; save whatever happens.

        Raises:
            OutputError: A checkpoint or the metrics cannot be written.
        """
        plan, trainer, schedule = self.plan, self.trainer, self.plan.settings.schedule
        last_step = min(schedule.steps, until or schedule.steps)
        began = time.monotonic() - self.history.seconds
        progress = Progress(
            schedule.steps,
            plan.settings.batch,
            done=trainer.step,
            ends_s=60 * schedule.minutes - self.history.seconds if schedule.minutes else None,
        )
        coming: list[Losses] = []
        rows: list[dict[str, float]] = []
        score = math.nan

        def at_end() -> bool:
            return trainer.step >= last_step or schedule.is_over(trainer.step, passed)

        passed = self.history.seconds
        with interruptible() as interruption:
            while not at_end() and not interruption:
                if trainer.step == schedule.decay_start and schedule.decay:
                    self.save("stable.pt")
                coming.append(trainer.one_step(seconds=passed))
                passed = time.monotonic() - began
                shows, saves = progress.is_due(trainer.step), self._is_time(plan.save_every)
                measures = at_end() or self._is_time(plan.validate_every)
                notes = measures or self._is_time(ROW_EVERY)
                if notes or shows or saves:
                    rows += self._read(coming)
                    coming = []
                if shows:
                    loss = rows[-1]["loss"]
                    self._say(progress.line(trainer.step, loss, loading_s=trainer.loading_s))
                if measures:
                    score = self._validate()
                    self._say(f"step {trainer.step} · AP50 {score:.4f}")
                best_before = self.history.best
                if notes:
                    self._note(rows, time.monotonic() - began, score if measures else None)
                    rows = []
                if measures and score >= best_before:
                    self.save("best.pt")
                if at_end() or saves:
                    self.save("last.pt")
            if interruption:
                self._read(coming)
                self.save("last.pt")
        self.history.plot()
        return Outcome(trainer.step, score, interruption.exit_code if interruption else 0)

    def save(self, name: str) -> None:
        """Write a checkpoint of this moment into the folder of the run."""
        trainer = self.trainer
        average = {k: v.cpu() for k, v in trainer.average.model.state_dict().items()}
        checkpointing.save(
            self.folder / name,
            variant=self.plan.settings.variant,
            model=average,
            training=trainer.state(),
        )

    def _validate(self) -> float:
        return validation.ap50(
            self.trainer.average.model,
            self._pack,
            self._validated,
            size=self.plan.settings.validate_at,
        )

    def close(self) -> None:
        """End the threads."""
        self.trainer.close()

    def _is_time(self, every: int) -> bool:
        return every > 0 and self.trainer.step % every == 0

    def _note(self, sums: list[dict[str, float]], seconds: float, score: float | None) -> None:
        step, samples = self.trainer.step, self.trainer.samples
        names = {name for values in sums for name in values}
        values = {n: float(np.mean([v[n] for v in sums if n in v])) for n in names}
        values |= {"step": step, "samples": samples, "seconds": seconds}
        if score is not None:
            values["ap50"] = score
        self.history.add(values)

    def _read(self, steps: Sequence[Losses]) -> list[dict[str, float]]:
        """Fetch the losses of the last steps, all at once, and refuse those that are no numbers."""
        if not steps:
            return []
        tensors = [v for step in steps for v in step.values() if isinstance(v, Tensor)]
        numbers = iter(torch.stack(tensors).tolist())
        rows = [
            {name: next(numbers) if isinstance(v, Tensor) else v for name, v in step.items()}
            for step in steps
        ]
        for number, row in enumerate(rows, self.trainer.step - len(rows) + 1):
            self._refuse_nonsense(number, row)
        return rows

    def _refuse_nonsense(self, step: int, losses: dict[str, float]) -> None:
        # An endless gradient spoils the weights before the next loss shows it.
        endless = not (self.trainer.scaled or math.isfinite(losses["norm"]))
        if endless or not math.isfinite(losses["loss"]):
            kept = (self.folder / "last.pt").exists()
            go_on = f"the last checkpoint is kept: resume {self.folder}" if kept else "start again"
            raise ModelError(
                f"the loss is no number any more at step {step}; {go_on} with "
                f"--set schedule.rate={self.plan.settings.schedule.rate / 4:g}"
            )


def prolonged(plan: RunPlan, *, steps: int | None, decay: int | None) -> RunPlan:
    """The same plan with another length or decay.

    Raises:
        InputError: The decay is longer than the run.
    """
    schedule = plan.settings.schedule
    schedule = dataclasses.replace(
        schedule,
        steps=schedule.steps if steps is None else steps,
        decay=schedule.decay if decay is None else decay,
    )
    if schedule.decay > schedule.steps:
        raise InputError(f"--decay {schedule.decay} is longer than --steps {schedule.steps}")
    return dataclasses.replace(plan, settings=dataclasses.replace(plan.settings, schedule=schedule))


def networks(
    settings: Settings, *, weights: Path | None, teacher: Path | None
) -> tuple[YOLOv5Face | None, YOLOv5Face | None]:
    """Open the networks that a run starts from and imitates, and see whether they suit it.

    Args:
        settings: Of the run.
        weights: Checkpoint to start from, of the same variant.
        teacher: Checkpoint to imitate, with the same anchors.

    Raises:
        InputError: A size of the samples does not suit the variant.
        ModelError: A checkpoint cannot be used, or is of a variant that does not fit.
    """
    student = build(settings.variant)
    for side in settings.sides:
        if side % student.stride or side < student.stride:
            raise InputError(
                f"sides of {side} pixels do not suit {settings.variant}; give multiples of "
                f"{student.stride}, such as --set sides=[{5 * student.stride}]"
            )
    start, master = None, None
    if weights is not None:
        start, found = load_model(weights)
        if found != settings.variant:
            raise ModelError(
                f"{weights} holds a {found} and not a {settings.variant}; "
                f"give --variant {found} or other weights"
            )
    if teacher is not None:
        master, found = load_model(teacher)
        if not torch.equal(master.anchors.float(), student.anchors.float()):
            raise ModelError(
                f"{teacher} holds a {found}, whose anchors are not those of a {settings.variant}; "
                "a teacher needs as many levels as its student: both with a 6 at the end, or none"
            )
    return start, master
