"""Lists of token ids of different lengths in one array, which stands in a file."""

import tempfile
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Int = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Ragged:
    """List i is `values[offsets[i]:offsets[i + 1]]`."""

    values: npt.NDArray[np.int32]
    offsets: Int

    @property
    def lengths(self) -> Int:
        """Of all lists, int64 [n]."""
        return np.diff(self.offsets)

    def padded(self, rows: Int, fill: int) -> Int:
        """The lists of `rows` as int64 [n_rows, longest], filled up at the right."""
        lengths = self.offsets[rows + 1] - self.offsets[rows]
        out = np.full((len(rows), int(lengths.max())), fill, dtype=np.int64)
        for line, row in zip(out, rows, strict=True):
            start, end = self.offsets[row], self.offsets[row + 1]
            line[: end - start] = self.values[start:end]
        return out

    def joined(self, rows: Int) -> Int:
        """The lists of `rows` one after the other, int64 [n]."""
        parts = [self.values[self.offsets[row] : self.offsets[row + 1]] for row in rows]
        return np.concatenate(parts).astype(np.int64)


class RaggedFile:
    """Takes lists table by table into a file and maps it into memory at the end.

    The file has no name, so that it is gone with the process, however that ends. It lies where
    Python's temporary files do (`TMPDIR`): on a disk the kernel keeps of it what is read.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="rayraft-rows-")  # noqa: SIM115 - closed in mapped()
        self._lengths: list[Int] = [np.zeros(1, np.int64)]

    def add(self, column: pa.ChunkedArray) -> None:
        """Appends an Arrow column of `list<int32>`."""
        for chunk in column.chunks:
            chunk.flatten().to_numpy(zero_copy_only=False).astype(np.int32, copy=False).tofile(
                self._file
            )
            self._lengths.append(np.diff(chunk.offsets.to_numpy()).astype(np.int64))

    def mapped(self) -> Ragged:
        """All lists; nothing can be added any more."""
        offsets = np.cumsum(np.concatenate(self._lengths))
        with self._file as file:
            file.flush()
            if not offsets[-1]:  # nothing cannot be mapped
                return Ragged(np.zeros(0, np.int32), offsets)
            values = np.memmap(file, np.int32, "r", shape=(int(offsets[-1]),))
        return Ragged(np.asarray(values), offsets)
