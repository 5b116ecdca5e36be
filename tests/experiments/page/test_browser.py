"""How a real browser shows the page, and what it does when it is used."""

import re

import pytest

from experiments import store
from experiments.page import build, charts, render, runs
from experiments.training.baselines import BASELINES
from tests.experiments import written
from tests.experiments.page import sweeps
from tests.experiments.page.sweeps import EVIL, OWN
from tests.sampled import sampled


@pytest.fixture
def opened(browser, folder):
    def open_at(width, media="", scheme="light"):
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"media": media, "features": features}
        )
        browser.get((folder / "report.html").as_uri())
        wait(browser, "return document.getElementById('one-strategy').textContent")
        return browser

    return open_at


def wait(driver, script, *arguments):
    """Until it gives something; returns that."""
    from selenium.webdriver.support.wait import WebDriverWait

    return WebDriverWait(driver, 10, 0.02).until(lambda of: of.execute_script(script, *arguments))


def pick(driver, name, title):
    from selenium.webdriver.support.select import Select

    Select(driver.find_element("id", f"pick-{name}")).select_by_visible_text(title)


def test_it_renders_without_an_error(opened):
    driver = opened(1200)
    assert driver.find_element("tag name", "h1").is_displayed()
    open_all(driver)
    loaded = "return [...document.images].every(image => image.complete && image.naturalWidth)"
    assert wait(driver, loaded)
    shown = driver.execute_script("return document.body.innerText")
    assert EVIL in shown
    assert OWN in shown
    assert driver.execute_script("return [...document.images].map(image => image.alt)") == [
        "A",
        "B <b>",
    ]
    assert driver.get_log("browser") == []
    licences = (render.FOLDER / "vega" / "LICENSES.txt").read_text(encoding="utf-8")
    for name, library in {
        "vega": "vega",
        "vega-lite": "vegaLite",
        "vega-embed": "vegaEmbed",
    }.items():
        assert f"{name} {driver.execute_script(f'return {library}.version')}" in licences


DOTS = "return document.querySelectorAll('#runs .dots_marks path').length"
HAVE = "return document.querySelectorAll('#runs .dots_marks path').length === arguments[0]"


def test_every_seed_is_a_dot_that_filters_leave_or_hide(opened):
    driver = opened(1200)
    trained, untrained, seeds, networks = 9, 4, 5, 2
    of_dataset = trained * seeds * networks + untrained
    assert driver.execute_script(DOTS) == 3 * of_dataset + 3 + 1  # with failures, and the user's
    pick(driver, "dataset", "flights")
    assert wait(driver, HAVE, of_dataset)
    pick(driver, "backbone", "conditioned")
    assert wait(driver, HAVE, trained * seeds + untrained)
    pick(driver, "family", "clips")
    assert wait(driver, HAVE, 2 * seeds)
    assert driver.get_log("browser") == []


def test_hovering_says_what_a_dot_is(opened):
    from selenium.webdriver import ActionChains

    driver = opened(1200)
    pick(driver, "dataset", EVIL)
    pick(driver, "family", "your own")
    assert wait(driver, HAVE, 3)
    dot = driver.find_element("css selector", "#runs .dots_marks path")
    ActionChains(driver).move_to_element(dot).perform()
    said = wait(driver, "return document.getElementById('vg-tooltip-element')?.innerText")
    assert OWN in said
    assert EVIL in said
    for title in ("network", "seed", "skill", "outside the bounds"):
        assert title in said


def of_wind(strategies, **more):
    return [written.record(name, "wind", **more) for name in strategies]


BARE = {
    "nothing": [],
    "failed alone": of_wind(["clip"], error="</script>"),
    "baselines alone": of_wind(BASELINES),
    "no baseline": of_wind(["unconstrained", "clip"]),
    "no finite error": of_wind(["unconstrained", "clip", "climatology_clipped"], mse=None),
    "one run": of_wind(["clip"]) + of_wind(["climatology_clipped"]),
}


@pytest.mark.parametrize("case", sampled(BARE, {"failed alone", "no finite error"}))
def test_a_sweep_of_little_is_shown_without_an_error(browser, tmp_path, case):
    described = written.manifest(["wind"] if BARE[case] else [])
    folder = written.save(tmp_path / "bare", BARE[case], described)
    for record in BARE[case]:
        if record.is_done and record.metrics["mse"]:
            store.save(folder, record, sweeps.arrays(record, looks=1))
    build.build(folder, with_figures=False)
    browser.get((folder / "report.html").as_uri())
    assert wait(browser, "return Boolean(drawn.runs)")
    dots = browser.execute_script(DOTS)
    assert dots == len(BARE[case]) * (case != "failed alone")
    named = browser.find_element("id", "one-strategy").get_attribute("textContent")
    assert named == (BARE[case][0].cell.strategy if BARE[case] else "")
    assert browser.find_element("id", "no-dots").is_displayed() == (dots == 0)
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("share", sampled(runs.SHARES[1:5], [runs.SHARES[4]]), ids=str)
def test_a_page_that_holds_less_draws_what_it_holds(browser, tmp_path, monkeypatch, share):
    records = [one for seed in range(3) for one in of_wind(["clip", "unconstrained"], seed=seed)]
    folder = written.save(tmp_path / "less", [], written.manifest(["wind"]))
    for record in records:
        store.save(folder, record, sweeps.arrays(record))
    monkeypatch.setattr(runs, "SHARES", (share,))
    build.build(folder, with_figures=False)
    browser.get((folder / "report.html").as_uri())
    assert wait(browser, "return document.getElementById('window-1').querySelector('svg')")
    band = "return document.querySelectorAll('#curves .mark-area.role-mark path').length"
    assert browser.execute_script(band) == (share.curves == "quartiles")
    assert browser.find_element("id", "no-curves").is_displayed() == (share.curves == "none")
    first = browser.find_element("css selector", "#window-0")
    assert first.is_displayed() == (share.windows == 2)
    assert "To keep this page small" in browser.find_element("id", "one").text
    assert browser.get_log("browser") == []


CLICKED = "return document.querySelector('#one h2').innerText === arguments[0]"


def test_a_click_on_a_dot_or_a_name_shows_how_it_trained(opened):
    from selenium.webdriver import ActionChains

    driver = opened(1200)
    pick(driver, "dataset", "wind")
    pick(driver, "family", "clips")
    assert wait(driver, HAVE, 20)
    dot = driver.find_elements("css selector", "#runs .dots_marks path")[-1]
    run = driver.execute_script("return arguments[0].__data__.datum", dot)
    ActionChains(driver).move_to_element(dot).click().perform()
    assert wait(driver, CLICKED, f"{run['title']} on wind, {run['network']}")
    curves = "return document.querySelectorAll('#curves .mark-line.role-mark path').length"
    assert wait(driver, f"{curves} === 5 + 8")  # seeds, and the others
    names = driver.find_elements("css selector", "#runs .role-axis-label text")
    other = ({"clip", "straight_through_clip"} - {run["title"]}).pop()
    (name,) = [name for name in names if name.text == other]
    ActionChains(driver).move_to_element(name).click().perform()
    assert wait(driver, CLICKED, f"{other} on wind, bottleneck")
    for panel in ("curves", "window-0", "window-1"):
        assert driver.find_element("css selector", f"#{panel} svg").is_displayed()
    assert driver.get_log("browser") == []


def test_what_there_is_nothing_of_is_said(opened):
    driver = opened(1200)
    pick(driver, "dataset", "flights")  # without arrays
    pick(driver, "strategy", "clip")
    assert driver.find_element("id", "no-curves").is_displayed()
    assert driver.find_element("id", "no-windows").is_displayed()
    assert not driver.find_element("id", "curves").is_displayed()
    assert driver.execute_script(CLICKED, "clip on flights, bottleneck")
    pick(driver, "dataset", "closure_greensboro")
    assert wait(driver, "return !document.getElementById('no-dots').hidden")


@pytest.mark.thorough
def test_chart_and_sections_are_reached_within_ten_stops(opened):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    def stop():
        ActionChains(driver).send_keys(Keys.TAB).perform()
        script = "const at = document.activeElement; return at.id || at.getAttribute('href')"
        return driver.execute_script(script)

    driver = opened(1200)
    picks = [f"pick-{name}" for name in ("dataset", "backbone", "family", "strategy")]
    found = [stop() for _ in range(10)]
    assert {f"#{section}" for section in render.SECTIONS} <= set(found)
    driver = opened(1200)
    assert stop() == "#pick-dataset"  # the link that skips the rest
    ActionChains(driver).send_keys(Keys.ENTER).perform()
    assert [
        driver.execute_script("return document.activeElement.id"),
        *(stop() for _ in range(3)),
    ] == picks


def test_navigation_and_heads_stick(opened):
    driver = opened(1200)
    last = "document.querySelector('#ranking-bottleneck tbody tr:last-child')"
    driver.execute_script(f"window.scrollBy(0, {last}.getBoundingClientRect().top - 200)")
    edge = "return document.querySelector(arguments[0]).getBoundingClientRect()[arguments[1]]"
    assert driver.execute_script(edge, "nav", "top") == 0
    assert driver.execute_script(edge, "#ranking-bottleneck tbody tr", "top") < 0
    head = driver.execute_script(edge, "#ranking-bottleneck thead th", "top")
    assert head == pytest.approx(driver.execute_script(edge, "nav", "bottom"), abs=3)


def contrast(one, other):
    def luminance(color):
        parts = [
            value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
            for value in color
        ]
        return sum(
            weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True)
        )

    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def color(text):
    """Of `#rrggbb` or `rgb(r, g, b)`."""
    if text.startswith("#"):
        return [int(text[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    return [int(part) / 255 for part in re.findall(r"\d+", text)[:3]]


@pytest.mark.parametrize("scheme", sampled(["light", "dark"], {"dark"}))
def test_marks_and_text_stand_out(opened, scheme):
    driver = opened(1200, scheme=scheme)
    style = "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]"
    ground = color(driver.execute_script(style, "body", "backgroundColor"))
    assert (sum(ground) < 1) == (scheme == "dark")
    for mark in {*charts.COLORS.values(), charts.OTHERS}:
        assert contrast(color(mark), ground) >= 3, mark
    assert (
        contrast(color(driver.execute_script(style, "#runs .means_marks path", "fill")), ground) > 3
    )
    for element, of in {
        "#runs text": "fill",
        "p": "color",
        ".note": "color",
        "nav a": "color",
        "td": "color",
    }.items():
        assert contrast(color(driver.execute_script(style, element, of)), ground) >= 4.5, element


def column(driver, place):
    cells = "row => row.cells[arguments[0]].textContent"
    script = f"return [...document.querySelectorAll('#headline tbody tr')].map({cells})"
    return driver.execute_script(script, place)


def numbers(driver, place):
    """What there is, without intervals."""
    texts = [text.split(" ")[0].replace("−", "-") for text in column(driver, place)]
    return [float(text) for text in texts if text != "–"]


def test_tables_sort_by_click_and_by_key(opened):
    from selenium.webdriver.common.keys import Keys

    driver = opened(1200)
    open_all(driver)
    header = driver.find_elements("css selector", "#headline thead th")[2]
    button = header.find_element("tag name", "button")
    assert button.text == "skill, bottleneck"
    before = column(driver, 0)
    button.click()
    skills = numbers(driver, 2)
    assert len(skills) > 10
    assert skills == sorted(skills)
    assert header.get_attribute("aria-sort") == "ascending"
    button.send_keys(Keys.ENTER)
    assert numbers(driver, 2) == sorted(skills, reverse=True)
    assert header.get_attribute("aria-sort") == "descending"
    assert sorted(column(driver, 0)) == sorted(before)
    # A strategy that is not ranked has no skill, and comes last in either order.
    assert column(driver, 2)[-1] == "–"
    name = driver.find_element("css selector", "#headline thead button")
    name.send_keys(Keys.SPACE)
    assert column(driver, 0) == sorted(before)
    assert header.get_attribute("aria-sort") == "none"


@pytest.mark.thorough  # test_page.py: links lead somewhere
def test_a_number_leads_to_its_cell(opened):
    driver = opened(1200)
    open_all(driver)
    link = driver.find_element("css selector", "#headline a[href^='#']")
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


HINTED = "return [...document.querySelectorAll('.box.scrolls')].map(box => box.ariaLabel)"


def test_a_phone_scrolls_tables_and_not_the_page(opened):
    driver = opened(400)
    open_all(driver)
    assert wait(driver, "return !document.querySelector('.box:not(.fits, .scrolls)')")
    assert driver.execute_script(WIDE, "html, body") == []
    hinted = driver.execute_script(HINTED)
    assert any("every strategy stands" in name for name in hinted)
    assert {f"DIV {name}" for name in hinted} == set(driver.execute_script(WIDE, ".box"))
    hint = "return getComputedStyle(document.querySelector('.scrolls'), '::before').content"
    assert "scrolls sideways" in driver.execute_script(hint)


def test_on_a_desk_nothing_is_cut_before_it_is_asked_for(opened):
    driver = opened(1200)
    assert driver.execute_script(WIDE, "html, body") == driver.execute_script(HINTED) == []
    assert driver.execute_script("return document.documentElement.scrollHeight") < 12 * 800


PAPER = [(".box:not(.wide)", 703), (".box.wide", 1032)]


@pytest.mark.parametrize(("selector", "width"), sampled(PAPER, PAPER[:1]))
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
