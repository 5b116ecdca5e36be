"""The page: what it holds and escapes, and how a real browser shows it."""

import base64
import io
import json
import re
import shutil
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest
from PIL import Image

from experiments import console, store
from experiments.analysis import study
from experiments.figures import captions
from experiments.page import build, render, terminal, warnings
from experiments.usage import UsageError
from tests.experiments import written
from tests.experiments.page import sweeps
from tests.experiments.page.sweeps import SAID

KEYS = "versions", "processor"


class Outline(HTMLParser):
    """What there is of each element."""

    def __init__(self, text):
        super().__init__()
        self.found = {}
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.setdefault(tag, []).append(dict(attributes))

    def values(self, attribute):
        return [a[attribute] for of in self.found.values() for a in of if attribute in a]


def test_it_has_every_part_one_heading_and_links_that_lead_somewhere(folder, text):
    outline = Outline(text)
    assert len(outline.found["h1"]) == 1
    ids = outline.values("id")
    assert len(set(ids)) == len(ids)
    targets = {link["href"] for link in outline.found["a"]}
    within = {target.removeprefix("#") for target in targets if target.startswith("#")}
    assert within <= set(ids)
    assert set(render.SECTIONS) <= within
    assert "skill-bottleneck-clip" in within
    files = {unquote(target) for target in targets if not target.startswith("#")}
    assert files == {f"tables/{path.name}" for path in (folder / "tables").glob("*.csv")}
    assert len(outline.found["caption"]) == len(outline.found["table"])
    assert all(found.get("scope") in ("row", "col") for found in outline.found["th"])


def test_it_loads_nothing(text):
    sources = [value for name in ("src", "href") for value in Outline(text).values(name)]
    assert all(value.startswith(("#", "data:", "tables/")) for value in sources)
    written_by_hand = text.replace(render._libraries(), "")
    assert len(written_by_hand) < len(text) - 800_000
    assert not re.search(r"url\(|@import|https?:", written_by_hand)


def test_names_show_as_they_are(text):
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(&#34;1&#34;)&lt;/script&gt; &amp; `x` [y](#z).npz" in text.replace(
        "<wbr>", ""
    )
    assert "&lt;b&gt;diverged&lt;/b&gt;" in text
    assert "<summary>&lt;i&gt;Late&lt;/i&gt; (flights) (study)</summary>" in text
    assert "&lt;i&gt;Late&lt;/i&gt; (flights), bottleneck: test split" in text
    assert "&lt;u&gt;all&lt;/u&gt;\\x1b" in text.replace("<wbr>", "")
    assert "full &lt;1&gt;" in text


def test_figures_are_embedded_with_their_words_and_small(folder, text):
    images = Outline(text).found["img"]
    assert [image["alt"] for image in images] == ["A", "B <b>"]
    assert {(image["width"], image["height"]) for image in images} == {("900", "40")}
    content = base64.b64decode(images[1]["src"].removeprefix("data:image/webp;base64,"))
    with Image.open(io.BytesIO(content)) as one, Image.open(folder / "figures" / "b.png") as other:
        assert one.tobytes() == other.convert("RGB").tobytes()
    assert "Of <code>clip</code>." in text
    assert "B <b>" not in text  # markup of others is text


def test_made_again_without_drawing_it_is_the_same(folder, text, tmp_path):
    copy = shutil.copytree(folder, tmp_path / folder.name)
    build.build(copy, with_figures=False)
    assert (copy / "report.html").read_text(encoding="utf-8") == text


@pytest.fixture
def small(tmp_path):
    """A folder of one dataset with figures, and without a page."""
    folder = written.save(
        tmp_path / "small", written.sweep(["wind"], seeds=1), written.manifest(["wind"])
    )
    sweeps.draw(folder, study.read({}, store.read(folder)))
    return folder


def test_a_figure_whose_file_is_missing_is_not_linked(small):
    (small / "figures" / "a.png").unlink()
    build.build(small, with_figures=False)
    made = (small / "report.html").read_text(encoding="utf-8")
    assert "a.png" not in made
    assert [image["alt"] for image in Outline(made).found["img"]] == ["B <b>"]


def test_a_packed_file_that_cannot_be_read_is_noted(small):
    (small / "packed").mkdir()
    (small / "packed" / "flights.npz").write_bytes(b"half")
    with pytest.warns(UserWarning, match=r"flights\.npz is not whole"):
        build.build(small, with_figures=False)
    text = (small / "report.html").read_text(encoding="utf-8")
    assert "Files that are not whole; their cells count as missing: packed/flights.npz." in text


def test_figures_without_words_have_their_files_name(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert captions.read(copy) == SAID
    for damaged in ('{"a.png": ', '{"a.png": {"name": "A"}}', "[]"):
        (copy / "figures" / "captions.json").write_text(damaged)
        assert not captions.read(copy)
    (copy / "figures" / "captions.json").unlink()
    (copy / "figures" / "broken.png").write_bytes(b"no picture")
    cut = (copy / "figures" / "a.png").read_bytes()[:60]
    (copy / "figures" / "cut.png").write_bytes(cut)
    assert [(found.name, found.title) for found in render.pictures(copy)] == [
        ("a.png", "a"),
        ("b.png", "b"),
    ]


def test_words_of_older_files_are_read_and_what_is_no_longer_said_is_not(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    path = copy / "figures" / "captions.json"
    kept = json.loads(path.read_text())
    for words in kept["figures"].values():
        assert words.keys() == {"title", "caption", "dataset"}
        words |= {"alt": "Says <b>.", "warning": "its <end>."}
    path.write_text(json.dumps(kept))
    assert captions.read(copy) == SAID


def test_a_page_has_a_size_and_figures_beyond_it_are_linked(small, monkeypatch):
    build.build(small, with_figures=False)
    text = (small / "report.html").read_text(encoding="utf-8")
    monkeypatch.setattr(render, "MOST_BYTES", len(text.encode()) - 1000)
    build.build(small, with_figures=False)
    linked = (small / "report.html").read_text(encoding="utf-8")
    assert len(Outline(text).found["img"]) == 2
    assert len(linked.encode()) <= render.MOST_BYTES
    assert len(Outline(linked).found["img"]) == 1
    assert '<a href="figures/a.png">' in linked


def test_a_page_without_room_links_what_it_leaves_out(folder, text, monkeypatch, tmp_path):
    copy = shutil.copytree(folder, tmp_path / folder.name)
    monkeypatch.setattr(render, "MOST_BYTES", len(render._libraries()) + 100_000)
    build.build(copy, with_figures=False)
    made = (copy / "report.html").read_text(encoding="utf-8")
    metrics = [path.name for path in (copy / "tables").glob("metrics-*.csv")]
    links = [unquote(link["href"]) for link in Outline(made).found["a"]]
    for name in metrics:
        assert text.count(f'<table id="{name.removesuffix(".csv")}"') == 1
        assert f'<table id="{name.removesuffix(".csv")}"' not in made
        assert links.count(f"tables/{name}") == 2  # with its dataset, and in the list of all
    assert "it holds no training curves" in made
    assert "it holds no training curves" not in text


def test_the_ranking_has_five_columns_and_the_best_on_top(text):
    table = re.search(r'<table id="ranking-bottleneck">.*?</table>', text, re.DOTALL)[0]
    headings = re.findall(r"<button[^>]*>(.*?)</button>", table)
    assert headings == [
        "strategy",
        "bound holds",
        "skill",
        "runs without skill",
        "outside the bounds",
    ]
    rows = re.findall(
        r"<th[^>]*row[^>]*>.*?</th>\s*<td[^>]*>.*?</td>\s*<td>(.*?)[ <]", table, re.DOTALL
    )
    skills = [float(number.replace("−", "-")) for number in rows]
    assert len(skills) > 10
    assert skills == sorted(skills, reverse=True)


def test_no_interval_is_shown_where_there_is_none(text):
    """Two groups have a mean, and no interval of their median."""
    assert "comparisons-short" in text
    assert not re.search(r"[+−]inf", text.replace(render._libraries(), ""))


def test_of_many_failed_cells_the_first_are_shown(tmp_path):
    failed = [written.record("clip", "wind", seed=seed, error=f"e{seed}") for seed in range(30)]
    found = written.save(tmp_path / "failed", failed, written.manifest(["wind"]))
    build.build(found, with_figures=False)
    made = (found / "report.html").read_text(encoding="utf-8")
    (table,) = re.findall(r'<table id="failed">.*?</table>', made, re.DOTALL)
    assert table.count("<tr>") == 1 + 20
    assert "The first 20 of 30; all are in the CSV file." in made
    assert 'href="tables/failed.csv"' in made


def test_where_room_is_short_every_dataset_keeps_its_first_figure():
    names = ["wind 1", "wind 2", "flights 1", "flights 2", ""]
    shown = [
        render.Picture(name=name, title="", caption="", dataset=name.partition(" ")[0], source="x")
        for name in names
    ]

    def kept(room):
        return [one.name for one in render._fitting(shown, room) if one.source]

    assert kept(1) == [""]
    assert kept(3) == ["wind 1", "flights 1", ""]
    assert kept(4) == ["wind 1", "wind 2", "flights 1", ""]
    assert kept(5) == names


def test_a_folder_without_manifest_has_a_page(tmp_path):
    records = written.sweep(["wind"], seeds=1)
    records += written.sweep(["wind"], ["leaky_clip"], ["conditioned"], seeds=1)
    found = written.save(tmp_path / "old", records)
    build.build(found, with_figures=False)
    text = (found / "report.html").read_text(encoding="utf-8")
    for backbone, there in {"bottleneck": False, "conditioned": True}.items():
        table = re.search(rf'<table id="ranking-{backbone}">.*?</table>', text, re.DOTALL)[0]
        assert ("leaky_clip" in re.sub("<.*?>", "", table)) == there  # where it ran
    assert "The folder has no manifest" in text
    assert '<table id="ranking-bottleneck">' in text
    assert '<section id="figures">' not in text


@pytest.mark.parametrize(
    "records", [[], [written.record("clip", "wind", error="diverged")]], ids=["none", "failed"]
)
def test_records_that_say_nothing_have_a_page_that_says_so(tmp_path, records):
    found = written.save(tmp_path / "bare", records, written.manifest([]))
    build.build(found)
    text = (found / "report.html").read_text(encoding="utf-8")
    assert "Nothing is ranked" in text


def test_the_report_names_the_page(folder, capsys):
    assert store.read(folder)
    terminal.show(console.make_console(), folder, store.read(folder))
    assert f"page: {folder / 'report.html'}" in capsys.readouterr().out.replace("\n", "")
    with pytest.raises(UsageError):
        build.build(folder / "absent")


def test_figures_of_other_records_are_said_to_be(tmp_path):
    folder = written.save(tmp_path / "wind", written.sweep(["wind"]), written.manifest(["wind"]))
    written.figure(folder / "figures" / "a.png")
    for drawn, said in ((store.read(folder)[1:], True), (store.read(folder), False)):
        captions.keep(folder, [("a.png", SAID["a.png"])], drawn)
        build.build(folder, with_figures=False)
        text = (folder / "report.html").read_text(encoding="utf-8")
        assert ("The figures are of other records" in text) == said


def test_sessions_on_other_machines_or_packages_are_said():
    one, other = {"jax": "0.10.0"}, {"jax": "0.10.1"}

    def said(*sessions):
        manifest = {"sessions": [dict(zip(KEYS, s, strict=True)) for s in sessions]}
        return list(map(str, warnings.mixed(manifest, [])))

    assert said((one, "a"), (one, "a")) == said() == []
    assert said((one, "a"), (one, "b")) == ["Sessions with several processors: 2"]
    assert said((one, "a"), (other, "a")) == ["Sessions with several sets of packages: 2"]


def told(records, manifest):
    return {one.text: one.of for one in warnings.warnings(study.read(manifest, records))}


def test_what_weakens_the_numbers_is_said_with_its_names():
    dead = [written.record("clip", "wind", seed=s, gradient_dead_fraction=1.0) for s in range(2)]
    records = [*written.sweep(["wind", "sines"])[2:], *dead]
    records += [written.record("exp_offset", "wind", error="diverged")]
    records += [written.record("budget_softmax", "wind")]
    records += [written.record("clip", "sines", gradient_dead_fraction=1.0, seed=9)]
    found = told(records, written.manifest(["wind", "sines", "flights"]))
    assert found["Nothing was tuned: every strategy ran with its defaults"] == ""
    assert "flights" in found["Planned cells without a record"]
    assert found["Cells that failed; each counts as a skill of -1"] == "exp_offset 1"
    assert found["Runs that end without a gradient at any output"] == "clip 2"
    assert found["Not ranked, for they bound a sum of features"] == "budget_softmax"


def test_few_groups_and_seeds_are_said_and_many_are_not():
    few = told(written.sweep(["wind"]), written.manifest(["wind"]))
    assert few["Fewer groups than 6, so that no verdict is given"] == (
        "bottleneck 1 group, conditioned 1 group"
    )
    seeds = few["Too few seeds to tell strategies apart"]
    assert seeds == "bottleneck 5 seeds, conditioned 5 seeds"
    many = written.sweep(written.STUDY, seeds=6)
    many += [written.record("clip", "wind", seed=1000, phase="tune")]
    assert set(told(many, written.manifest(written.STUDY))) == set()


def test_targets_that_break_their_bounds_are_said():
    found = told([], written.manifest(["irradiance_soiled"]))
    assert found["Targets that break their bounds"] == "irradiance_soiled 4.4 %"
