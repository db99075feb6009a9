"""README.md and docs/: links and paths exist, commands are known, examples are valid, made pages are up to date."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml

import ptydesign
from ptydesign.cli import main

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "results" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    """A page without code blocks and comments."""
    return COMMENT.sub("", FENCED.sub("", page.read_text(encoding="utf-8")))


def blocks(page: Path, language: str = "") -> list[str]:
    """Contents of a page's code blocks in a language."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [text for name, text in found if name == language]


def anchors(page: Path) -> set[str]:
    """What a link to a heading of a page may say after #, as GitHub makes it."""
    titles = re.findall(r"^#+ (.+)$", FENCED.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def broken(page: Path, text: str) -> list[str]:
    """Relative links in a page's text that lead nowhere."""
    found = []
    for link in LINK.findall(text):
        if re.match(r"\w+:", link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = page if not path else page.parent / path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_relative_links_exist(page):
    assert broken(page, prose(page)) == []


def test_a_broken_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# One title\n\n```\n# no title\n```\n")
    text = "[a](page.md#one-title) [b](#one-title) ![c](none.png) [d](page.md#no-title) [e](https://example.org/x)"
    assert broken(page, text) == ["none.png", "page.md#no-title"]


def test_every_page_and_picture_is_reached_from_the_readme():
    seen, todo = set(), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in seen:
            continue
        seen.add(page)
        if page.suffix == ".md":
            links = [link.partition("#")[0] for link in LINK.findall(prose(page)) if not re.match(r"\w+:|#", link)]
            todo += [(page.parent / link).resolve() for link in links]
    wanted = {path for ending in ("md", "png") for path in (ROOT / "docs").rglob(f"*.{ending}")}
    assert sorted(name_of(path) for path in wanted - seen) == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_paths_of_the_repository_exist(page):
    """Files of the repository that a text or a command names; `results/` and what a command makes are not."""
    text = LINK.sub("", COMMENT.sub("", page.read_text(encoding="utf-8")))
    kept = r"(?<![\w/.$])((?:docs|ptydesign|tests|benchmarks|studies)/[\w./-]*\w)(?![\w/*<{$-])"
    made = r"studies/(?:mysample|mydata|siemens_star|beamtime|depth100|depth293|as_published_part)\b"
    names = {name for name in re.findall(kept, text) if not re.match(made, name)}
    assert [name for name in sorted(names) if not (ROOT / name).exists()] == []


def commands(page: Path) -> set[tuple[str, tuple[str, ...]]]:
    """(subcommand, options) of a page's `ptydesign` commands, in blocks and in the text; not of those with <words>."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line.partition(" #")[0] for block in blocks(page) for line in block.replace("\\\n", " ").splitlines()]
    found = [line.strip() for line in lines] + re.findall(r"`(ptydesign [^`]+)`", FENCED.sub("", text))
    result = set()
    for command in found:
        match = re.match(r"ptydesign ([a-z]+)\b(.*)", command.partition(" -- ")[0], re.DOTALL)
        if match and "<" not in command:
            options = re.findall(r"(?<!\S)(--?[a-z][\w-]*)", match[2])
            result.add((match[1], tuple(sorted(set(options)))))
    return result


def test_commands_and_their_options_are_known(capsys):
    known: dict[str, str] = {}
    unknown = []
    for page in PAGES:
        for command, options in sorted(commands(page)):
            if command not in known:
                with pytest.raises(SystemExit):
                    main([command, "--help"])
                known[command] = capsys.readouterr().out
            missing = [option for option in options if not re.search(rf"(?<![\w-]){option}\b", known[command])]
            if missing or not known[command]:
                unknown.append((name_of(page), command, missing))
    assert len(known) > 8
    assert unknown == []


@pytest.mark.parametrize("name", ["plans.md", "reconstruct.md"])
def test_plans_that_are_shown_are_valid(name):
    plans = [yaml.safe_load(block) for block in blocks(ROOT / "docs" / name, "yaml")]
    assert plans
    for plan in plans:
        ptydesign.make_plan(**plan)


def test_the_python_page_is_up_to_date():
    make = runpy.run_path(str(ROOT / "docs" / "make_api.py"))
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert page == make["page"](), "run: python docs/make_api.py"
    for name in set(ptydesign.__all__) - {"__version__"}:
        assert page.count(f"### {name}\n") == 1


def test_a_new_public_name_needs_a_section(monkeypatch):
    make = runpy.run_path(str(ROOT / "docs" / "make_api.py"))
    monkeypatch.setattr(ptydesign, "__all__", [*ptydesign.__all__, "novelty"])
    with pytest.raises(ValueError, match="novelty"):
        make["page"]()


def test_the_page_of_recovery_is_that_of_its_tables():
    from benchmarks.recovery import page

    folder = ROOT / "docs" / "results" / "recovery"
    assert (folder / "README.md").read_text(encoding="utf-8") == page(folder), "write it again from its tables"


def test_commands_of_the_readme_follow_their_comments():
    """Where a machine looks for them: within three lines of the comment, on a line that begins with python3."""
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    for name, end in (("main", "snakemake studies/lowdose"), ("test", "-m pytest -n 2")):
        start = lines.index(f"<!-- {name} command -->")
        found = [line for line in lines[start : start + 4] if line.startswith("python3 ")]
        assert len(found) == 1
        assert found[0].endswith(end)
