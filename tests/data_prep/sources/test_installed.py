"""Text of installed distributions: docstrings under their names, a licence each, tasks that share the work."""

from data_prep.sources.installed import Distribution, InstalledText, docstrings, find_distributions, read_distribution

MODULE = '''"""A module."""

class Path:
    """A path.

        Indented.
    """
    def rename(self, target, *, force=False):
        """Give it another name."""
        def inner():
            """Inside."""
    def silent(self): pass

async def main(): "Run."
'''


def test_docstrings_stand_below_their_names():
    assert docstrings(MODULE, "os.path").split("\n\n\n") == [
        "os.path\n\nA module.",
        "class Path\n\nA path.\n\nIndented.",
        "Path.rename(self, target, force)\n\nGive it another name.",
        "Path.rename.inner()\n\nInside.",
        "main()\n\nRun.",
    ]


def test_source_that_does_not_parse_has_no_docstrings():
    assert docstrings("print 'two'", "old") == ""
    assert docstrings("x = 1", "bare") == ""
    assert docstrings("a\0b", "nul") == ""


def test_a_distribution_gives_description_documents_licences_and_docstrings(tmp_path):
    contents = {
        "demo/__init__.py": MODULE + f'\ndef long(): """{"Words. " * 40}"""\n',
        "demo/short.py": '"""Too short."""',
        "demo/README.md": "# Read me",
        "demo/old.rst": "caf\xe9".encode("latin-1"),
        "demo-1.dist-info/licenses/LICENSE": "The MIT License",
        "demo-1.dist-info/top_level.txt": "demo",
        "demo/data.bin": b"\0",
    }
    files = {}
    for name, content in contents.items():
        files[name] = tmp_path / name.replace("/", "_")
        files[name].write_bytes(content if isinstance(content, bytes) else content.encode())
    found = {d.id: d for d in read_distribution(Distribution("demo", "1", "MIT", "About demo.", files))}
    assert set(found) == {
        "demo/description", "demo/demo/README.md", "demo/demo-1.dist-info/licenses/LICENSE", "demo/demo/__init__.py"
    }  # fmt: skip
    assert found["demo/demo/__init__.py"].text.startswith("demo\n\nA module.")
    assert found["demo/demo/README.md"].metadata == {
        "source": "demo documentation", "category": "documentation", "license": "MIT", "language": "en"
    }  # fmt: skip


def test_tasks_share_all_distributions():
    names = [d.name for d in find_distributions()]
    shared = [d.name for rank in range(3) for d in find_distributions(rank, 3)]
    assert sorted(names) == sorted(shared)
    assert names[0] == "python"
    assert len(names) > 20


def test_what_is_installed_is_real_text():
    documents = list(InstalledText().run(rank=0, world_size=40))
    assert sum(len(d.text) for d in documents) > 300_000
    assert any(d.id.startswith("python/") and d.metadata["license"] == "PSF-2.0" for d in documents)
