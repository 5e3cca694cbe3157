"""Fetch the files of a corpus from a list of addresses, check their digests, and unpack archives.

Interrupted downloads resume, also in the next call. A file gets its name only when it is complete and matches the
digest in the list. An existing file is kept; if its digest differs, the step fails. Nothing is ever overwritten. A file
without a digest in the list is not checked; its digest is printed.

Example:
  python scripts/fetch_corpus.py --folder data \\
      --settings '{"dataset": "mosi", "download": [{"url": "https://example.org/mosi_senti_data.pkl"}]}'
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from nmer import command
from nmer.corpora.archives import unpack
from nmer.corpora.download import download, readable
from nmer.corpora.download_list import Download, FetchSettings, download_list


def main() -> None:
    """Parse the arguments, fetch, unpack."""
    parser = command.parser(__doc__)
    parser.add_argument(
        "--settings", required=True, help="settings as JSON: dataset, download [{url, file, sha256, …}]"
    )
    parser.add_argument("--folder", required=True, type=Path, help="folder of all corpora, to which files are relative")
    parser.add_argument("--log", type=Path, help="file that also receives the messages, without progress")
    arguments = parser.parse_args()
    settings = command.fill(FetchSettings, command.settings(arguments.settings))
    with _printed_and_logged(arguments.log) as say:
        for file in download_list(settings.download, settings.dataset):
            _fetch(file, arguments.folder / file.file, say)


def _fetch(file: Download, path: Path, say: Callable[[str], None]) -> None:
    fetched = download(file.url, path, file.sha256, log=say)
    line = f"{path}: {'fetched' if fetched.new else 'kept'}, {readable(fetched.size)}, SHA-256 {fetched.sha256}"
    if file.unpack:
        unpacked = unpack(path, path.parent)
        line += f"; {unpacked.new} files unpacked, {unpacked.kept} there already"
    say(f"{line}.")
    if file.sha256 is None:
        say(f"warning: {path} was not checked. If it is right, add to its entry: sha256: {fetched.sha256}")


@contextmanager
def _printed_and_logged(log: Path | None) -> Iterator[Callable[[str], None]]:
    """Yield a function that prints a line on standard error and logs it. An error is logged here and printed later."""
    if log:
        log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") if log else nullcontext() as stream:

        def record(line: str) -> None:
            if stream:
                print(line, file=stream, flush=True)

        def say(line: str) -> None:
            print(line, file=sys.stderr, flush=True)
            record(line)

        try:
            yield say
        except Exception as error:
            record(f"error: {error}")
            raise


if __name__ == "__main__":
    command.run(main)
