"""Chunks of a prediction by actors of a Ray cluster, or of this machine; this process keeps what they return.

Plain actors in place of Ray Data: what is to be done is a list of chunks that are kept or not, in which a killed
command goes on; Ray Data streams blocks whose rows it chooses itself, and begins anew.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from hbac.common.errors import UserError
from hbac.common.machines import lacking, needs_of
from hbac.common.progress import progress
from hbac.inference.along import AlongChunks
from hbac.inference.kept import Chunk, chunk_path, read_chunk, write_chunk
from hbac.inference.networks import Networks
from hbac.reading.opened import Recording

if TYPE_CHECKING:
    from hbac.inference.recordings import Wish

_RETRIES = 3  # of an actor that was killed, and of the chunk that it had


class Work(Protocol):
    """Predicts any chunk, wherever it is unpickled."""

    networks: Networks

    def __call__(self, item: Any, /) -> Chunk:
        """Predict one."""


@dataclass
class _RecordingChunks:
    """Chunks of many recordings, each by its recording's name and its first row."""

    networks: Networks
    recordings: Mapping[str, Recording]
    wish: Wish
    _last: tuple[str, AlongChunks] | None = field(default=None, init=False)

    def of(self, name: str) -> AlongChunks:
        """Return the chunks of one; its filters are held until another is asked for."""
        if self._last is None or self._last[0] != name:
            self._last = name, self.wish.chunks(self.networks, self.recordings[name])
        return self._last[1]

    def __call__(self, item: tuple[str, int]) -> Chunk:
        """Predict a chunk."""
        return self.of(item[0])(item[1])


class _Actor:
    """Has the networks once it is asked for something: what fails in a constructor is not told in its own words."""

    def __init__(self) -> None:
        self._work: Work | None = None

    def do(self, given: list[Any], folder: str, n_threads: int, item: Any) -> tuple[Any, Chunk | None]:
        """Predict a chunk, or nothing yet; in `given` is where the work is."""
        if self._work is None:
            import ray
            import torch

            os.chdir(folder)  # paths may be relative
            torch.set_num_threads(n_threads)
            work: Work = ray.get(given[0])
            work.networks.to(work.networks.elsewhere)
            self._work = work
        return item, None if item is None else self._work(item)


class RayActors:
    """Actors that predict: on the cluster that ``RAY_ADDRESS`` names, or that was started here, else on this machine.

    Each has so many processor cores and GPUs (with 0.5 two share one), and there are as many as the cluster has room
    for where `workers` is absent; a machine that has this is waited for `wait_s` seconds. A `UserError` when Ray is not
    installed, or there is no such cluster or machine.
    """

    def __init__(self, workers: int | None = None, num_cpus: int = 1, num_gpus: float = 0, wait_s: float = 60) -> None:
        try:
            import ray
        except ImportError:
            raise UserError("engine=ray: Ray is not installed: pip install 'ray>=2.60'") from None
        self._ray: Any = ray
        self._asked: dict[str, Any] = {"num_cpus": num_cpus, "num_gpus": num_gpus}
        try:
            if not ray.is_initialized():
                ray.init(include_dashboard=False, logging_level="warning")
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise UserError(f"engine=ray: no cluster to be had: {str(error).splitlines()[0]}") from None
        needed, since = needs_of(self._asked), time.monotonic()
        while why := lacking(self._machines(), needed):
            if time.monotonic() - since >= wait_s:
                raise UserError(
                    f"engine=ray: each worker asks for {why} in {wait_s:g} s; ask for less (engine.num_cpus, "
                    f"engine.num_gpus), or wait longer for one that is to come: engine.wait_s={10 * wait_s + 60:g}"
                )
            time.sleep(1)
        room = sum(int(min(machine[name] / n for name, n in needed.items())) for machine in self._machines()
                   if not lacking([machine], needed))  # fmt: skip
        self._workers = workers or room

    def _machines(self) -> list[Mapping[str, float]]:
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function where an actor could be."""
        return self._get(self._ray.remote(**self._asked)(function).remote(*arguments))

    def fill(self, work: Work, paths: Mapping[Any, Path]) -> None:
        """Predict all chunks that are not kept yet, at these paths; a worker that is killed does its chunk again.

        A `UserError` when a file cannot be read or written, or a worker is killed again and again.
        """
        todo = [item for item, path in paths.items() if read_chunk(path) is None]
        n_workers = min(len(todo), self._workers)
        given = [self._ray.put(work)] if todo else []
        actor = self._ray.remote(**self._asked, max_restarts=_RETRIES, max_task_retries=_RETRIES)(_Actor)

        def ask(one: Any, item: Any) -> Any:
            return one.do.remote(given, str(Path.cwd()), self._asked["num_cpus"], item)

        # Each is given something only when it is up: one for which there is no room now holds up nothing.
        busy = {ask(one, None): one for one in [actor.remote() for _ in range(n_workers)]}
        waiting, left = list(reversed(todo)), len(todo)
        with progress(f"predicting with {n_workers} worker(s)") as tell:
            while left:
                (done,), _ = self._ray.wait(list(busy), num_returns=1)
                one = busy.pop(done)
                item, chunk = self._get(done)
                if waiting:
                    busy[ask(one, waiting.pop())] = one
                if chunk is not None:
                    write_chunk(paths[item], *chunk)
                    left -= 1
                tell(len(todo) - left, len(todo))

    def fill_recordings(
        self, networks: Networks, recordings: Mapping[str, Recording], wish: Wish, kept: Mapping[str, Path]
    ) -> None:
        """Predict the chunks of recordings, as `fill` does; `kept` is the folder for each."""
        work = _RecordingChunks(networks, recordings, wish)
        items = [(name, first) for name in recordings for first in work.of(name).starts]
        self.fill(work, {(name, first): chunk_path(kept[name], first) for name, first in items})

    def _get(self, promised: Any) -> Any:
        errors = self._ray.exceptions
        try:
            return self._ray.get(promised)
        except errors.RayTaskError as error:
            raise (error.cause if isinstance(error.cause, UserError) else error) from None
        except errors.RayError as error:
            told = " ".join(str(error).split())[:300]
            raise UserError(
                f"engine=ray: a worker was ended from outside, {_RETRIES + 1} times ({told}); what is done is kept: "
                "type the command again"
            ) from None
