"""The page: what it holds and escapes, and how a real browser shows it."""

import base64
import io
import json
import re
import shutil
from html.parser import HTMLParser

import pytest
from PIL import Image

from experiments import console, store
from experiments.analysis import study
from experiments.figures import captions
from experiments.figures.captions import Words
from experiments.page import build, render, terminal, warnings
from experiments.usage import UsageError
from tests.experiments import written

DATASETS = ["wind", "flights", "irradiance_soiled", "sines", "dial_base"]
KEYS = "versions", "processor"
EVIL = '<script>alert("1")</script> & `x` [y](#z).npz'


SAID = {
    "b.png": Words(title="B <b>", caption="Of `clip`."),
    "a.png": Words(title="A", caption="", dataset="wind"),
}


def draw(folder, found):
    for name in SAID:
        written.figure(folder / "figures" / name)
    captions.keep(folder, SAID.items(), found.records)


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


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    datasets = [*DATASETS, EVIL]
    written.DATASETS[EVIL] = written.DATASETS["wind"]
    try:
        described = written.manifest(datasets)
    finally:
        del written.DATASETS[EVIL]
    described["datasets"]["flights"] |= {"title": "<i>Late</i>", "columns": ["<u>all</u>\x1b"]}
    records = written.sweep(datasets)
    records.append(written.record("exp_offset", "wind", error="<b>diverged</b>"))
    sums = {"sum_violation_rate_1e-4": 0.1, "sum_violation_max": 0.2, "jacobian_rank_fraction": 0.5}
    records.append(written.record("budget_softmax", "closure_greensboro", **sums))
    found = written.save(tmp_path_factory.mktemp("results") / "full <1>", records, described)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build.draw, "draw_all", draw)
        build.build(found)
    return found


@pytest.fixture(scope="module")
def text(folder):
    return (folder / "report.html").read_text(encoding="utf-8")


def test_it_has_every_part_one_heading_and_links_that_lead_somewhere(text):
    outline = Outline(text)
    assert len(outline.found["h1"]) == 1
    ids = outline.values("id")
    assert len(set(ids)) == len(ids)
    targets = [link["href"].removeprefix("#") for link in outline.found["a"]]
    assert set(targets) <= set(ids)
    assert set(render.SECTIONS) <= set(targets)
    assert "skill-bottleneck-clip" in targets
    assert len(outline.found["caption"]) == len(outline.found["table"])
    assert all(found.get("scope") in ("row", "col") for found in outline.found["th"])


def test_it_loads_nothing(text):
    sources = [value for name in ("src", "href") for value in Outline(text).values(name)]
    assert all(value.startswith(("#", "data:")) for value in sources)
    assert not re.search(r"url\(|@import|https?:", text)


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
    assert [image["alt"] for image in images] == ["B <b>", "A"]
    assert {(image["width"], image["height"]) for image in images} == {("900", "40")}
    content = base64.b64decode(images[0]["src"].removeprefix("data:image/webp;base64,"))
    with Image.open(io.BytesIO(content)) as one, Image.open(folder / "figures" / "b.png") as other:
        assert one.tobytes() == other.convert("RGB").tobytes()
    assert "Of <code>clip</code>." in text
    assert "<h3>B &lt;b&gt;</h3>" in text


def test_made_again_without_drawing_it_is_the_same(folder, text, tmp_path):
    copy = shutil.copytree(folder, tmp_path / folder.name)
    build.build(copy, with_figures=False)
    assert (copy / "report.html").read_text(encoding="utf-8") == text


def test_a_figure_whose_file_is_missing_is_named_with_its_words(folder, text, tmp_path):
    copy = shutil.copytree(folder, tmp_path / folder.name)
    (copy / "figures" / "a.png").unlink()
    build.build(copy, with_figures=False)
    made = (copy / "report.html").read_text(encoding="utf-8")
    assert made.count("<figcaption>") == text.count("<figcaption>")
    assert 'href="figures/a.png"' in made
    assert "where the file is missing" in made


def test_a_packed_file_that_cannot_be_read_is_noted(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / folder.name)
    (copy / "packed").mkdir()
    (copy / "packed" / "flights.npz").write_bytes(b"half")
    with pytest.warns(UserWarning, match=r"flights\.npz is not whole"):
        build.build(copy, with_figures=False)
    text = (copy / "report.html").read_text(encoding="utf-8")
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


def test_a_page_has_a_size_and_figures_beyond_it_are_linked(folder, text, monkeypatch, tmp_path):
    copy = shutil.copytree(folder, tmp_path / folder.name)
    monkeypatch.setattr(render, "MOST_BYTES", len(text.encode()) - 1000)
    build.build(copy, with_figures=False)
    linked = (copy / "report.html").read_text(encoding="utf-8")
    assert len(linked.encode()) <= render.MOST_BYTES
    assert len(Outline(linked).found["img"]) == 1
    assert '<a href="figures/a.png">' in linked


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
    found = written.save(tmp_path / "old", written.sweep(["wind"], seeds=1))
    build.build(found, with_figures=False)
    text = (found / "report.html").read_text(encoding="utf-8")
    assert "The folder has no manifest" in text
    assert 'id="headline-clip-skill_bottleneck"' in text
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


CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if not (CHROMIUM and DRIVER):
        pytest.skip("chromium and chromedriver are not installed")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser, folder):
    def open_at(width, media=""):
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media})
        browser.get((folder / "report.html").as_uri())
        return browser

    return open_at


def test_it_renders_without_an_error(opened):
    driver = opened(1200)
    assert driver.get_log("browser") == []
    assert driver.find_element("tag name", "h1").is_displayed()
    loaded = "return [...document.images].every(image => image.complete && image.naturalWidth)"
    assert driver.execute_script(loaded)
    assert EVIL in driver.execute_script("return document.body.textContent")


def column(driver, place):
    script = "return [...document.querySelectorAll('#headline tbody tr')].map(r => r.cells[%d].%s)"
    texts = driver.execute_script(script % (place, "textContent"))
    return texts, driver.execute_script(script % (place, "dataset.sort ?? ''"))


def test_tables_sort_by_click_and_by_key(opened):
    from selenium.webdriver.common.keys import Keys

    driver = opened(1200)
    header = driver.find_elements("css selector", "#headline thead th")[2]
    button = header.find_element("tag name", "button")
    assert button.text == "skill, bottleneck"
    before, _ = column(driver, 0)
    button.click()
    keys = [float(key) for key in column(driver, 2)[1] if key]
    assert keys == sorted(keys)
    assert header.get_attribute("aria-sort") == "ascending"
    button.send_keys(Keys.ENTER)
    names, keys = column(driver, 0)[0], [float(key) for key in column(driver, 2)[1] if key]
    assert keys == sorted(keys, reverse=True)
    assert header.get_attribute("aria-sort") == "descending"
    assert sorted(names) == sorted(before)
    # A strategy that is not ranked has no skill, and comes last in either order.
    assert column(driver, 2)[0][-1] == "–"
    name = driver.find_element("css selector", "#headline thead button")
    name.send_keys(Keys.SPACE)
    assert column(driver, 0)[0] == sorted(before)
    assert header.get_attribute("aria-sort") == "none"


def test_a_number_leads_to_its_cell(opened):
    driver = opened(1200)
    link = driver.find_element("css selector", "#headline a")
    strategy = link.find_element("xpath", "ancestor::tr/th").text
    link.click()
    target = driver.find_element("css selector", "#skill-bottleneck :target")
    assert target.is_displayed()
    assert target.find_element("tag name", "th").text == strategy


WIDE = """
return [...document.querySelectorAll(arguments[0])]
  .filter(element => element.scrollWidth > element.clientWidth + 1)
  .map(element => element.tagName + " " + element.getAttribute("aria-label"))
"""


def open_all(driver):
    driver.execute_script("for (const d of document.querySelectorAll('details')) d.open = true")


def test_a_phone_scrolls_tables_and_not_the_page(opened):
    driver = opened(400)
    open_all(driver)
    assert driver.execute_script(WIDE, "html, body") == []
    assert any("every strategy stands" in name for name in driver.execute_script(WIDE, ".box"))


@pytest.mark.parametrize(("selector", "width"), [(".box:not(.wide)", 703), (".box.wide", 1032)])
def test_on_paper_no_table_is_clipped(opened, selector, width):
    """A4 upright and on its side, less the margins."""
    driver = opened(width, "print")
    open_all(driver)
    assert driver.find_elements("css selector", selector)
    assert driver.execute_script(WIDE, selector) == []


def test_printing_opens_what_is_closed(opened):
    driver = opened(1200)
    closed = "return document.querySelectorAll('details:not([open])').length"
    before = driver.execute_script(closed)
    driver.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert driver.execute_script(closed) == 0
    driver.execute_script("dispatchEvent(new Event('afterprint'))")
    assert driver.execute_script(closed) == before > 0


def test_all_images_say_what_they_show(opened):
    script = "return [...document.images].map(image => image.alt)"
    assert opened(1200).execute_script(script) == ["B <b>", "A"]


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
