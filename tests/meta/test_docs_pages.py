"""The documentation agrees with the program and with itself."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from primegap.cli.root import root

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("[a-z0-9]*.md")])
OURS = [page for page in PAGES if DOCS / "spec" not in page.parents]
"Pages about this program; those below docs/spec describe the formats."
GENERATED = (
    "docs_cli",
    "docs_errors",
    "docs_guarantees",
    "docs_permissions",
    "docs_processes",
    "docs_screens",
)
TREE = ("src", "tests", "docs", "scripts", "benchmarks", "requirements", ".ci")
MAX_PICTURE_BYTES = 250_000

FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^()\s]+)\)")
HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*$", re.MULTILINE)
PATH = re.compile(r"`((?:src|tests|docs|scripts|benchmarks)/[\w./-]*)`")
NAVIGATION = re.compile(r"([\w/-]+\.md)$", re.MULTILINE)
SNIPPET = re.compile(r'--8<-- "([^":]+)(?::[a-z-]+)?"')
MACHINE = re.compile(r"(?<![\w.])/(?:work|root|opt|home/\w+|Users/\w+)/\w")
REGISTRY = re.compile(
    r"//[^\s/]*(?:p[y]pi|p[y]thonhosted|artifactory|devpi)|index[-_]url\s*[=:]?\s*(?:https?|file):"
)


def named(pages: list[Path]) -> list[object]:
    return [pytest.param(page, id=str(page.relative_to(ROOT))) for page in pages]


def without_code(text: str) -> str:
    return FENCE.sub("", text)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page as mkdocs makes them."""
    found: set[str] = set()
    for heading in HEADING.findall(without_code(page.read_text(encoding="utf-8"))):
        plain = re.sub(r"[^\w\s-]", "", heading.lower()).strip()
        found.add(re.sub(r"[-\s]+", "-", plain))
    return found


@pytest.mark.parametrize("name", GENERATED)
def test_generated_pages_are_current(name: str) -> None:
    command = [sys.executable, "-m", f"scripts.{name}", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", named(PAGES))
def test_links_resolve(page: Path) -> None:
    for link in LINK.findall(without_code(page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        assert target.exists(), f"{link} leads nowhere"
        if DOCS in page.parents:
            # Pages are published below docs/ only.
            assert DOCS in target.parents or target == DOCS, f"{link} leaves the documentation"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{link}: no such heading"


@pytest.mark.parametrize("page", named(OURS))
def test_files_that_are_named_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for path in PATH.findall(without_code(text)):
        assert (ROOT / path).exists() or list(ROOT.glob(path)), f"{path} is not there"
    for path in SNIPPET.findall(text):
        assert (DOCS / path).is_file(), f"{path} is not there"


def commands_in(page: Path) -> Iterator[str]:
    """Yield the primegap commands of a page's shell blocks."""
    for language, block in FENCE.findall(page.read_text(encoding="utf-8")):
        if language == "bash":
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith("primegap "):
                    yield line


@pytest.mark.parametrize("page", named(OURS))
def test_commands_can_be_parsed(page: Path) -> None:
    """Every command and option exists; what it does is tried by hand and by the examples' test."""
    for line in commands_in(page):
        command: click.Command = root
        left = shlex.split(line, comments=True)[1:]
        context = click.Context(root, info_name="primegap")
        while True:
            try:
                _, left, _ = command.make_parser(context).parse_args(left)
            except click.UsageError as error:
                pytest.fail(f"{line}: {error.format_message()}")
            if not isinstance(command, click.Group):
                break
            below = command.get_command(context, left[0])
            assert below is not None, f"{line}: no command {left[0]}"
            command, context = below, click.Context(below, info_name=left[0], parent=context)
            left = left[1:]
        arguments = [p for p in command.params if isinstance(p, click.Argument)]
        assert not left or arguments, f"{line}: takes no arguments"


def in_navigation() -> list[str]:
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    return NAVIGATION.findall(settings[settings.index("\nnav:") :])


def test_every_page_is_in_the_navigation_once() -> None:
    written = sorted(str(page.relative_to(DOCS)) for page in PAGES if DOCS in page.parents)
    assert sorted(in_navigation()) == written


def test_every_decision_record_is_in_the_index_under_its_title() -> None:
    index = (DOCS / "adr/index.md").read_text(encoding="utf-8")
    records = sorted((DOCS / "adr").glob("[0-9]*.md"))
    assert [record.name[:4] for record in records] == [
        f"{number:04}" for number in range(1, len(records) + 1)
    ]
    for record in records:
        title = record.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        assert f"[{title}]({record.name})" in index
        assert title.startswith(record.name[:4])


def test_pictures_are_small() -> None:
    for picture in (DOCS / "images").iterdir():
        assert picture.stat().st_size < MAX_PICTURE_BYTES, picture.name


def text_files() -> Iterator[tuple[Path, str]]:
    tops = [path for path in ROOT.iterdir() if path.is_file() and path.name[0] != "."]
    below = [path for top in TREE for path in (ROOT / top).rglob("*") if path.is_file()]
    for path in [*tops, *below]:
        if "__pycache__" in path.parts or "vendor" in path.parts:
            continue
        try:
            yield path, path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def test_nothing_names_a_machine_or_a_registry() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path, text in text_files()
        for pattern in (MACHINE, REGISTRY)
        for match in pattern.finditer(text)
    ]
    assert found == []
