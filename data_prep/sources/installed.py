"""English text that every Python installation holds: documentation, licences and docstrings of its distributions.

One document for each description, documentation file and licence file, and one for the docstrings of each module.
Licence texts come with their real repetition: the same MIT and Apache texts hundreds of times.
"""

import ast
import hashlib
import importlib.metadata
import platform
import sysconfig
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from datatrove.data import Document, DocumentsPipeline
from datatrove.pipeline.readers.base import BaseReader

DOCUMENTATION_SUFFIXES = (".md", ".rst", ".txt")
LICENCE_NAMES = ("license", "licence", "copying", "notice", "authors")
MAX_PYTHON_FILE_BYTES = 400_000  # larger modules are generated tables
MAX_PYTHON_BYTES = 5_000_000  # read from one distribution: parsing is what takes the time
MAX_DOCSTRING_CHARACTERS = 600_000  # taken from one distribution, so that no library is the corpus
MAX_DOCUMENTATION_CHARACTERS = 500_000
MAX_DOCUMENTATION_FILE_BYTES = 1_000_000
MIN_DOCSTRING_CHARACTERS = 200  # of a module; most of the shorter ones are one-line remarks

_Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Distribution:
    """A named set of installed files with one licence. `files` maps names that are the same everywhere to paths."""

    name: str
    version: str
    licence: str
    description: str
    files: dict[str, Path]


class InstalledText(BaseReader):
    """Reads the text of the installed distributions; each task takes every `world_size`-th distribution."""

    name = "📦 Installed Python distributions"

    def run(self, data: DocumentsPipeline = None, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        if data:
            yield from data
        for distribution in find_distributions(rank, world_size):
            for document in read_distribution(distribution):
                self.update_doc_stats(document)
                yield document


def list_versions() -> list[str]:
    """``name version`` of everything that would be read, for the fingerprint of the collected text."""
    installed = {f"{d.name} {d.version}" for d in importlib.metadata.distributions()}
    return [*sorted(installed), f"python {platform.python_version()}"]


def find_distributions(rank: int = 0, world_size: int = 1) -> Iterator[Distribution]:
    """Every `world_size`-th distribution in the order of their names; the standard library is the first."""
    found = {distribution.name.lower(): distribution for distribution in importlib.metadata.distributions()}
    if rank == 0:
        yield _standard_library()
    for number, name in enumerate(sorted(found), 1):
        if number % world_size == rank:
            yield _describe(found[name])


def read_distribution(distribution: Distribution) -> Iterator[Document]:
    """All documents of one distribution; which files are read within the limits depends on their names only."""
    texts = [("description", "description", distribution.description)]
    spread = sorted(distribution.files.items(), key=lambda item: hashlib.sha256(item[0].encode()).digest())
    texts += _documentation(spread)
    texts += _docstrings(spread)
    for kind, path, text in texts:
        if text.strip():
            metadata = {
                "source": f"{distribution.name} {kind}",
                "category": kind,
                "license": distribution.licence,
                "language": "en",
            }
            yield Document(text=text, id=f"{distribution.name}/{path}", metadata=metadata)


def docstrings(source: str, module: str) -> str:
    """The docstrings of a module, its classes and functions; "" if there are none or the source does not parse.

    Each stands below its name, with the names of a function's parameters: ``Path.rename(self, target)``.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in other people's strings
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    return "\n\n\n".join(_walk(tree, module, ""))


def _walk(node: ast.Module | _Definition, heading: str, prefix: str) -> Iterator[str]:
    text = ast.get_docstring(node)
    if text:
        yield f"{heading}\n\n{text}"
    for child in node.body:
        if isinstance(child, ast.ClassDef):
            yield from _walk(child, f"class {prefix}{child.name}", f"{prefix}{child.name}.")
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            parameters = ", ".join(argument.arg for argument in [*child.args.args, *child.args.kwonlyargs])
            yield from _walk(child, f"{prefix}{child.name}({parameters})", f"{prefix}{child.name}.")


def _documentation(files: list[tuple[str, Path]]) -> Iterator[tuple[str, str, str]]:
    characters = 0
    for name, path in files:
        kind = _kind(Path(name))
        if kind is None or not path.is_file() or path.stat().st_size > MAX_DOCUMENTATION_FILE_BYTES:
            continue
        text = _read(path)
        if characters + len(text) <= MAX_DOCUMENTATION_CHARACTERS:
            characters += len(text)
            yield kind, name, text


def _docstrings(files: list[tuple[str, Path]]) -> Iterator[tuple[str, str, str]]:
    characters = read_bytes = 0
    for name, path in files:
        if not name.endswith(".py") or not path.is_file() or path.stat().st_size > MAX_PYTHON_FILE_BYTES:
            continue
        if characters > MAX_DOCSTRING_CHARACTERS or read_bytes > MAX_PYTHON_BYTES:
            return
        read_bytes += path.stat().st_size
        module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        text = docstrings(_read(path), module)
        if len(text) >= MIN_DOCSTRING_CHARACTERS:
            characters += len(text)
            yield "docstrings", name, text


def _kind(path: Path) -> str | None:
    if path.name.lower().startswith(LICENCE_NAMES) and path.suffix.lower() in ("", *DOCUMENTATION_SUFFIXES):
        return "licence"
    # dist-info holds lists of files and names beside its licences, and METADATA is read as the description
    if path.suffix.lower() in DOCUMENTATION_SUFFIXES and ".dist-info" not in str(path):
        return "documentation"
    return None


def _read(path: Path) -> str:
    """A file as text; "" if it is not UTF-8, since some packages carry test files in other encodings."""
    try:
        return path.read_text(encoding="utf-8")
    except (UnicodeDecodeError, OSError):
        return ""


def _describe(distribution: importlib.metadata.Distribution) -> Distribution:
    metadata = distribution.metadata
    payload = metadata.get_payload() if hasattr(metadata, "get_payload") else None
    description = payload if isinstance(payload, str) and payload.strip() else metadata.get("Description", "") or ""
    # files outside site-packages (scripts, man pages) start with ".."
    files = {str(file): Path(str(file.locate())) for file in distribution.files or () if file.parts[0] != ".."}
    return Distribution(distribution.name, distribution.version, _licence(metadata), description, files)


def _licence(metadata: importlib.metadata.PackageMetadata) -> str:
    """The licence expression, the License line, or the classifier; "unknown" if there is none."""
    expression = metadata.get("License-Expression") or metadata.get("License") or ""
    first_line = expression.strip().partition("\n")[0]
    # some put the whole text there, which begins with a copyright line
    if first_line and len(first_line) <= 60 and not {"UNKNOWN", "Copyright"} & set(first_line.split()):
        return first_line
    classifiers = [c for c in metadata.get_all("Classifier") or () if c.startswith("License :: ")]
    return classifiers[0].rpartition(" :: ")[2] if classifiers else "unknown"


def _standard_library() -> Distribution:
    root = Path(sysconfig.get_paths()["stdlib"])
    left_out = {"site-packages", "dist-packages", "test", "tests", "idlelib", "__pycache__"}
    files = {
        str(path.relative_to(root)): path
        for suffix in (".py", *DOCUMENTATION_SUFFIXES)
        for path in root.rglob(f"*{suffix}")
        if not left_out & set(path.relative_to(root).parts)
    }
    return Distribution("python", platform.python_version(), "PSF-2.0", "", files)
