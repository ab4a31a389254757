"""One step of the real pose training, alone or as one of several processes: its gradients.

usage: train_step.py OUT.npz PEOPLE.json,IMAGES
"""

from __future__ import annotations

import sys

import numpy as np
import torch

from train.batches import Batches
from train.config import Config
from train.learner import Learner
from train.parallel import team
from train.task import Batch
from train.tasks import TASKS


def main(out: str, data: str) -> None:
    torch.set_num_threads(1)
    config = Config.from_dict(
        {"task": "pose", "data": [data], "input_wh": [96, 128], "batch": 4, "amp": "off", "seed": 1}
    )
    with team("cpu") as crew:
        task = TASKS["pose"](config)
        learner = Learner(task, config, crew, 10)
        batch: Batch = next(Batches(task, config.batch, crew, 0).epoch(0, 0))
        learner.learn(0, batch)
        if not crew.first:
            return
        told = {f"gradient {n}": p.grad.numpy() for n, p in learner._net.named_parameters()}
        told["labelled"] = batch["visible"].reshape(2, -1).sum(1).numpy()  # in halves of the batch
        told |= {n: t.numpy() for n, t in learner._net.named_buffers()}
        np.savez(out, **told)


if __name__ == "__main__":
    main(*sys.argv[1:])
